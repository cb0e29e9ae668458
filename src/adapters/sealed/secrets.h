#pragma once
// The Secrets port over the database: each value sealed with XChaCha20-Poly1305, bound to its project and name, so that a
// row moved or renamed in the database opens no more. The database, its log and its backups hold no value.

#include <memory>

#include "adapters/sealed/key.h"
#include "ports/clock.h"
#include "ports/database.h"
#include "ports/secrets.h"

namespace mayfly {

/// The database has the table of sealed/schema.h and outlives this, as do the clock and the entropy.
std::unique_ptr<Secrets> make_sealed_secrets(Database& database, Clock& clock, Entropy& entropy, SealingKey key);

}  // namespace mayfly
