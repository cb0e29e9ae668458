# mayfly_embed(OUT_VARIABLE FUNCTION FILE): a generated .cpp that defines `std::string_view mayfly::FUNCTION()` with the file's
# text, made again whenever the file changes.
function(mayfly_embed out function file)
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/${function}.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} content)
  # A raw string literal may have at most 64 KiB: cut it into pieces that the compiler joins.
  string(LENGTH "${content}" length)
  set(pieces "")
  set(at 0)
  while(at LESS length)
    string(SUBSTRING "${content}" ${at} 16000 piece)
    string(APPEND pieces "R\"embed~(${piece})embed~\"\n")
    math(EXPR at "${at} + 16000")
  endwhile()
  file(CONFIGURE OUTPUT ${generated} @ONLY CONTENT
"#include <string_view>

namespace mayfly {

std::string_view @function@();

std::string_view @function@() {
  return
@pieces@;
}

}  // namespace mayfly
")
  set(${out} ${generated} PARENT_SCOPE)
endfunction()
