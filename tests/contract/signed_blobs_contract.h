#pragma once
// What may be done to a store without its keys: what was signed, and nothing else. For stores that sign; link
// signed_blobs_contract.cpp, and instantiate SignedBlobs with a factory.

#include "contract/blobs_contract.h"
#include "net/client.h"

namespace mayfly::contract {

class SignedBlobs : public BlobsContract {
 protected:
  http::ClientResponse send(http::ClientRequest request);
  http::ClientResponse fetch(std::string url, std::string method = "GET");
  SignedPut signed_put(std::string_view key, Duration valid);
  int send_put(SignedPut put, std::string body, std::string method = "PUT");

  http::Client client{loop.loop()};
};

}  // namespace mayfly::contract
