#include "roles/gateway/gateway.h"

namespace mayfly {

http::Response page_response(std::string_view html) {
  auto response = http::text_response(200, std::string(html), "text/html; charset=utf-8");
  response.headers.set("Content-Security-Policy",
                       "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
                       "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'");
  response.headers.set("X-Content-Type-Options", "nosniff");
  response.headers.set("Referrer-Policy", "no-referrer");
  response.headers.set("Cache-Control", "no-cache");
  response.headers.set("Vary", "Accept");
  return response;
}

void Gateway::add_pages(http::Router& router) {
  router.add("GET", "/", [](http::Request) -> Task<http::Response> { co_return page_response(builds_page()); });
  router.add("GET", "/b/{id}", [](http::Request) -> Task<http::Response> { co_return page_response(build_page()); });
}

}  // namespace mayfly
