#include "roles/runners/token_issuers.h"

namespace mayfly {
namespace {

constexpr std::string_view upsert = R"sql(
insert into pod_identities (pool, issuer, jwks, name_space, service_account, updated_at) values ($1, $2, $3, $4, $5, $6)
on conflict (pool) do update set issuer = excluded.issuer, jwks = excluded.jwks, name_space = excluded.name_space,
  service_account = excluded.service_account, updated_at = excluded.updated_at)sql";
constexpr std::string_view select = "select issuer, jwks, name_space, service_account from pod_identities where pool = $1";

}  // namespace

Statement store_token_issuer(const std::string& pool, const TokenIssuer& issuer, Time now) {
  return statement(upsert, pool, issuer.issuer, issuer.jwks, issuer.name_space, issuer.service_account, now);
}

Task<Result<std::optional<TokenIssuer>>> token_issuer_of(Database& db, std::string pool) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select, pool)));
  if (found.rows.empty()) co_return std::nullopt;
  auto& row = found.rows.front();
  co_return TokenIssuer{text_at(row, 0), text_at(row, 1), text_at(row, 2), text_at(row, 3)};
}

}  // namespace mayfly
