#include "adapters/postgres/values.h"

#include <libpq-fe.h>

#include <bit>
#include <charconv>
#include <cstring>

namespace mayfly::postgres {
namespace {

// Types by their numbers in pg_type.dat.
enum Type : Oid {
  type_bool = 16, type_bytea = 17, type_name = 19, type_int8 = 20, type_int2 = 21, type_int4 = 23, type_text = 25, type_oid = 26,
  type_bpchar = 1042, type_varchar = 1043, type_numeric = 1700, type_void = 2278,
};

template <class T>
T big_endian(const char* bytes) {
  T out;
  std::memcpy(&out, bytes, sizeof out);
  return std::endian::native == std::endian::little ? std::byteswap(out) : out;
}

/// A numeric is digits to the base of 10,000, the first of them worth 10,000^weight. Nothing unless it is whole and fits.
std::optional<std::int64_t> whole_number(const char* bytes, int length) {
  constexpr std::uint16_t positive = 0x0000, negative = 0x4000;
  if (length < 8) return std::nullopt;
  auto digits = big_endian<std::int16_t>(bytes), weight = big_endian<std::int16_t>(bytes + 2);
  auto sign = big_endian<std::uint16_t>(bytes + 4);
  if ((sign != positive && sign != negative) || length < 8 + 2 * digits || weight > 4) return std::nullopt;
  std::int64_t out = 0;
  for (int i = 0; i <= std::max<int>(weight, digits - 1); ++i) {
    std::int64_t digit = i < digits ? big_endian<std::int16_t>(bytes + 8 + 2 * i) : 0;
    if (i > weight) {
      if (digit != 0) return std::nullopt;
      continue;
    }
    if (sign == negative) digit = -digit;
    if (__builtin_mul_overflow(out, 10'000, &out) || __builtin_add_overflow(out, digit, &out)) return std::nullopt;
  }
  return out;
}

std::unexpected<Error> not_carried(const pg_result* result, int column, std::string_view why) {
  return fail(Errc::internal, std::string("database: column ") + PQfname(result, column) + " is " + std::string(why),
              "cast it to bigint or text in the query");
}

}  // namespace

void Parameters::set(const std::vector<Value>& params) {
  auto count = params.size();
  values_.assign(count, nullptr);
  lengths_.assign(count, 0);
  formats_.assign(count, 1);
  numbers_.resize(std::max(numbers_.size(), count));
  for (std::size_t i = 0; i < count; ++i) {
    if (auto* n = std::get_if<std::int64_t>(&params[i])) {
      auto& text = numbers_[i];
      *std::to_chars(text.data(), text.data() + text.size() - 1, *n).ptr = '\0';
      values_[i] = text.data();
      formats_[i] = 0;
      continue;
    }
    const std::string* bytes = std::get_if<std::string>(&params[i]);
    if (auto* blob = std::get_if<Blob>(&params[i])) bytes = &blob->bytes;
    if (!bytes) continue;
    values_[i] = bytes->data();
    lengths_[i] = int(bytes->size());
  }
}

Result<Value> column(const pg_result* result, int row, int column) {
  if (PQgetisnull(result, row, column)) return Value{};
  auto* data = PQgetvalue(result, row, column);
  int length = PQgetlength(result, row, column);
  switch (PQftype(result, column)) {
    case type_bool: return Value{std::int64_t(*data != 0)};
    case type_int2: return Value{std::int64_t(big_endian<std::int16_t>(data))};
    case type_int4: return Value{std::int64_t(big_endian<std::int32_t>(data))};
    case type_int8: return Value{big_endian<std::int64_t>(data)};
    case type_oid: return Value{std::int64_t(big_endian<std::uint32_t>(data))};
    case type_void: return Value{};
    case type_text:
    case type_varchar:
    case type_bpchar:
    case type_name: return Value{std::string(data, std::size_t(length))};
    case type_bytea: return Value{Blob{std::string(data, std::size_t(length))}};
    case type_numeric:
      if (auto number = whole_number(data, length)) return Value{*number};
      return not_carried(result, column, "a number that is not whole or does not fit");
    default: return not_carried(result, column, "of a type that this database's port does not carry");
  }
}

}  // namespace mayfly::postgres
