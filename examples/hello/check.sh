#!/bin/sh
# check.sh title|links FILE
set -e
case $1 in
  title) grep -q '<title>.\+</title>' "$2" && echo "$2 has a title" ;;
  links) grep -o 'href="[^"]*"' "$2" ;;
esac
