#include "adapters/sealed/secrets.h"

#include <sodium.h>

#include <map>

namespace mayfly {
namespace {

constexpr std::string_view upsert =
    "INSERT INTO secrets (project_id, name, nonce, sealed, created_at) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (project_id, name) DO UPDATE"
    " SET nonce = excluded.nonce, sealed = excluded.sealed, created_at = excluded.created_at";
constexpr std::string_view delete_one = "DELETE FROM secrets WHERE project_id = $1 AND name = $2";
constexpr std::string_view select_names = "SELECT name FROM secrets WHERE project_id = $1 ORDER BY name";
constexpr std::string_view select_all = "SELECT name, nonce, sealed FROM secrets WHERE project_id = $1";

constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

const unsigned char* raw(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* raw(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

/// What a value is bound to. The project's id has a fixed length, so no two pairs give the same bytes.
std::string bound_to(ProjectId project, std::string_view name) {
  std::string out = "mayfly secret 1\n";
  out.append(reinterpret_cast<const char*>(project.value.bytes.data()), project.value.bytes.size());
  return out.append(name);
}

class SealedSecrets final : public Secrets {
 public:
  SealedSecrets(Database& database, Clock& clock, Entropy& entropy, SealingKey key)
      : database_(database), clock_(clock), entropy_(entropy), key_(std::move(key)) {}

  Task<Result<void>> set(ProjectId project, Secret secret) override {
    CO_TRY(check_secret(secret));
    Blob nonce{std::string(nonce_bytes, '\0')};
    entropy_.fill({raw(nonce.bytes), nonce_bytes});
    auto sealed = seal(secret.value, nonce.bytes, bound_to(project, secret.name));
    std::vector<Statement> unit{statement(upsert, project, secret.name, nonce, std::move(sealed), clock_.now())};
    CO_TRY(co_await database_.transact(std::move(unit)));
    co_return Result<void>{};
  }

  Task<Result<void>> remove(ProjectId project, std::string name) override {
    CO_TRY(check_secret_name(name));
    std::vector<Statement> unit{statement(delete_one, project, name)};
    CO_TRY(co_await database_.transact(std::move(unit)));
    co_return Result<void>{};
  }

  Task<Result<std::vector<std::string>>> names(ProjectId project) override {
    CO_TRY_ASSIGN(auto found, co_await database_.query(statement(select_names, project)));
    std::vector<std::string> out;
    for (auto& row : found.rows) out.push_back(text_at(row, 0));
    co_return out;
  }

  Task<Result<std::vector<Secret>>> read(ProjectId project, std::vector<std::string> names) override {
    for (auto& name : names) CO_TRY(check_secret_name(name));
    if (names.empty()) co_return std::vector<Secret>{};
    CO_TRY_ASSIGN(auto found, co_await database_.query(statement(select_all, project)));
    std::map<std::string_view, const Row*> by_name;
    for (auto& row : found.rows) by_name.emplace(text_at(row, 0), &row);
    CO_TRY(check_all_there(names, by_name));
    std::vector<Secret> out;
    for (auto& name : names) {
      auto& row = *by_name.at(name);
      CO_TRY_ASSIGN(auto secret, open(project, name, blob_at(row, 1), blob_at(row, 2)));
      out.push_back(std::move(secret));
    }
    co_return out;
  }

 private:
  static Result<void> check_all_there(const std::vector<std::string>& names,
                                      const std::map<std::string_view, const Row*>& by_name) {
    std::string missing;
    for (auto& name : names)
      if (!by_name.contains(name)) missing += (missing.empty() ? "" : ", ") + name;
    if (missing.empty()) return {};
    return fail(Errc::not_found, "this project has no secret " + missing, "set it with: mayfly secret set PROJECT NAME");
  }

  Blob seal(std::string_view value, std::string_view nonce, std::string_view to) const {
    Blob out{std::string(value.size() + tag_bytes, '\0')};
    crypto_aead_xchacha20poly1305_ietf_encrypt(raw(out.bytes), nullptr, raw(value), value.size(), raw(to), to.size(),
                                               nullptr, raw(nonce), key_.span().data());
    return out;
  }

  Result<Secret> open(ProjectId project, const std::string& name, const std::string& nonce, const std::string& sealed) const {
    auto to = bound_to(project, name);
    std::string value(sealed.size() < tag_bytes ? 0 : sealed.size() - tag_bytes, '\0');
    if (sealed.size() < tag_bytes || nonce.size() != nonce_bytes ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(raw(value), nullptr, nullptr, raw(sealed), sealed.size(), raw(to),
                                                   to.size(), raw(nonce), key_.span().data()) != 0)
      return fail(Errc::corrupt, "secret " + name + " of project " + project.str() + " does not open",
                  "it was changed in the database, or the server's sealing key is another one: set it anew");
    return Secret{name, std::move(value)};
  }

  Database& database_;
  Clock& clock_;
  Entropy& entropy_;
  SealingKey key_;
};

}  // namespace

std::unique_ptr<Secrets> make_sealed_secrets(Database& database, Clock& clock, Entropy& entropy, SealingKey key) {
  return std::make_unique<SealedSecrets>(database, clock, entropy, std::move(key));
}

}  // namespace mayfly
