// Boost.Asio's TLS, compiled once here (BOOST_ASIO_SEPARATE_COMPILATION; the rest of Asio is in async/asio_impl.cpp).
#include <boost/asio/ssl/impl/src.hpp>
