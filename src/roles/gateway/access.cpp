#include "roles/gateway/access.h"

namespace mayfly {
namespace {

constexpr std::string_view insert_token = R"sql(
insert into tokens (id, name, hash, role, created_at, expires_at) values ($1, $2, $3, $4, $5, $6) on conflict (hash) do nothing)sql";
constexpr std::string_view select_token = "select name, role, expires_at from tokens where hash = $1";
constexpr std::string_view insert_audit = "insert into audit (id, at, actor, action, subject, detail) values ($1, $2, $3, $4, $5, $6)";

}  // namespace

Task<Result<CreatedToken>> Access::create(NewToken wanted) {
  if (wanted.name.empty() || wanted.name.size() > 200) co_return fail(Errc::invalid, "a token needs a name of at most 200 characters");
  std::array<std::uint8_t, 32> random;
  entropy_.fill(random);
  CreatedToken made{make_id<TokenId>(clock_, entropy_), token_text({reinterpret_cast<const char*>(random.data()), random.size()})};
  auto expires = wanted.lifetime.transform([&](Duration d) { return clock_.now() + d; });
  CO_TRY(co_await db_.transact({statement(insert_token, made.id, wanted.name, token_hash(made.token), to_string(wanted.role), clock_.now(), expires)}));
  co_return made;
}

Task<Result<void>> Access::ensure_owner(std::string token) {
  CO_TRY(co_await db_.transact({statement(insert_token, make_id<TokenId>(clock_, entropy_), "data directory", token_hash(token),
                                          to_string(Role::owner), clock_.now(), Value{})}));
  co_return Result<void>{};
}

Task<Result<Actor>> Access::authenticate(std::optional<std::string_view> authorization) {
  constexpr std::string_view scheme = "Bearer ";
  auto hint = "send 'Authorization: Bearer TOKEN'; mayfly up leaves one in its data directory, mayfly token create makes more";
  if (!authorization) co_return fail(Errc::unauthenticated, "this needs a token", hint);
  if (!authorization->starts_with(scheme)) co_return fail(Errc::unauthenticated, "the Authorization header is not a bearer token", hint);
  auto token = std::string(authorization->substr(scheme.size()));
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_token, token_hash(token))));
  if (found.rows.empty()) co_return fail(Errc::unauthenticated, "the token is not known", hint);
  auto expires = optional_time_at(found.rows[0], 2);
  if (expires && *expires <= clock_.now()) co_return fail(Errc::unauthenticated, "the token has expired", "make a new one: mayfly token create");
  co_return Actor{text_at(found.rows[0], 0), role_from(text_at(found.rows[0], 1)).value_or(Role::viewer)};
}

Statement Access::audit_row(const Actor& actor, std::string action, std::string subject, std::string detail) {
  return statement(insert_audit, make_id<Id<struct AuditTag>>(clock_, entropy_), clock_.now(), actor.name, action, subject, detail);
}

Task<void> Access::audit(const Actor& actor, std::string action, std::string subject, std::string detail) {
  (void)co_await db_.transact({audit_row(actor, std::move(action), std::move(subject), std::move(detail))});
}

}  // namespace mayfly
