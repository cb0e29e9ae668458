# mayfly_embed(OUT_VARIABLE FUNCTION FILE): a generated .cpp that defines `std::string_view mayfly::FUNCTION()` with the file's
# text, made again whenever the file changes.
function(mayfly_embed out function file)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/${function}.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  # An array, for a string literal may have at most 64 KiB.
  file(READ ${source} bytes HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  file(CONFIGURE OUTPUT ${generated} @ONLY CONTENT
"#include <string_view>

namespace mayfly {

std::string_view @function@();

std::string_view @function@() {
  static constexpr char bytes[] = {@bytes@};
  return {bytes, sizeof bytes};
}

}  // namespace mayfly
")
  set(${out} ${generated} PARENT_SCOPE)
endfunction()
