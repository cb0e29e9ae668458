#include "domain/pipeline/suggest.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace mayfly {
namespace {

constexpr std::size_t longest_word = 64;
constexpr std::size_t most_words = 1000;
constexpr std::size_t most_listed = 24;

char plain_letter(char c) { return c == '-' ? '_' : char(std::tolower(static_cast<unsigned char>(c))); }

/// Edits (insert, delete, replace, swap of neighbours) from one word to the other; case and '-' against '_' are free.
std::size_t edits(std::string_view a, std::string_view b) {
  std::array<std::array<std::size_t, longest_word + 1>, 3> rows;
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    auto& above = rows[(i + 2) % 3];
    auto& above2 = rows[(i + 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto x = plain_letter(a[i - 1]), y = plain_letter(b[j - 1]);
      row[j] = std::min({row[j - 1] + 1, above[j] + 1, above[j - 1] + (x == y ? 0 : 1)});
      if (i > 1 && j > 1 && x == plain_letter(b[j - 2]) && plain_letter(a[i - 2]) == y) row[j] = std::min(row[j], above2[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  std::string_view best;
  if (word.empty() || word.size() > longest_word) return best;
  auto limit = std::max<std::size_t>(1, std::min<std::size_t>(3, word.size() / 3)) + 1;
  for (auto candidate : known.first(std::min(known.size(), most_words))) {
    auto gap = std::max(candidate.size(), word.size()) - std::min(candidate.size(), word.size());
    if (candidate.size() > longest_word || gap >= limit) continue;
    if (auto distance = edits(word, candidate); distance < limit) {
      limit = distance;
      best = candidate;
    }
  }
  return best;
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  if (auto near = nearest(word, known); !near.empty()) return "did you mean '" + std::string(near) + "'?";
  if (known.empty()) return {};
  if (known.size() > most_listed) return "known: " + one_of(known.first(most_listed)) + " …";
  return "known: " + one_of(known);
}

std::string one_of(std::span<const std::string_view> words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i];
  }
  return out;
}

}  // namespace mayfly
