# The libraries of others, each as one imported target, so that the folder that may call a library
# is the only one that names its target.

find_package(PkgConfig REQUIRED)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
# What libcurl4-openssl brings; policy/webpki.c sets the name check that libcurl leaves out.
pkg_check_modules(OPENSSL3 REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack)
pkg_check_modules(CONFUSE REQUIRED IMPORTED_TARGET libconfuse)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(IDN2 REQUIRED IMPORTED_TARGET libidn2)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(CAPNG REQUIRED IMPORTED_TARGET libcap-ng)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)

# libev statically and hidden: libev.so exports libevent's names, which breaks libunbound.
find_library(EV_ARCHIVE NAMES libev.a REQUIRED)
add_library(ev INTERFACE)
target_link_libraries(ev INTERFACE ${EV_ARCHIVE} m)
target_link_options(ev INTERFACE -Wl,--exclude-libs,libev.a)

# libunbound's .pc asks for libevent's headers, which nothing here uses.
find_library(UNBOUND_LIBRARY NAMES unbound REQUIRED)
add_library(unbound INTERFACE)
target_link_libraries(unbound INTERFACE ${UNBOUND_LIBRARY})

find_library(CMOCKA_LIBRARY NAMES cmocka REQUIRED)

# BoringSSL: an upstream tree (static libraries) or Debian's package, which is a 2022 tree.
add_library(boringssl INTERFACE)
if(BORINGSSL_ROOT)
    find_library(BORINGSSL_SSL NAMES libssl.a PATHS ${BORINGSSL_ROOT}
        PATH_SUFFIXES build/ssl build lib ssl NO_DEFAULT_PATH REQUIRED)
    find_library(BORINGSSL_CRYPTO NAMES libcrypto.a PATHS ${BORINGSSL_ROOT}
        PATH_SUFFIXES build/crypto build lib crypto NO_DEFAULT_PATH REQUIRED)
    target_include_directories(boringssl SYSTEM INTERFACE ${BORINGSSL_ROOT}/include)
    target_link_libraries(boringssl INTERFACE ${BORINGSSL_SSL} ${BORINGSSL_CRYPTO} stdc++ pthread)
else()
    find_path(BORINGSSL_INCLUDE NAMES openssl/base.h PATHS /usr/include/android NO_DEFAULT_PATH
        REQUIRED)
    file(GLOB BORINGSSL_DIR /usr/lib/*/android)
    find_library(BORINGSSL_SSL NAMES ssl PATHS ${BORINGSSL_DIR} NO_DEFAULT_PATH REQUIRED)
    find_library(BORINGSSL_CRYPTO NAMES crypto PATHS ${BORINGSSL_DIR} NO_DEFAULT_PATH REQUIRED)
    target_include_directories(boringssl SYSTEM INTERFACE ${BORINGSSL_INCLUDE})
    target_link_libraries(boringssl INTERFACE ${BORINGSSL_SSL} ${BORINGSSL_CRYPTO})
    target_link_options(boringssl INTERFACE -Wl,-rpath,${BORINGSSL_DIR})
endif()
