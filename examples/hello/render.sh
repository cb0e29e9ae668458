#!/bin/sh
# Makes site/LANGUAGE.html of each greeting.
set -e
mkdir -p site
while IFS='|' read -r language title text; do
  printf '<html><head><title>%s</title></head><body><p>%s</p><a href="#top">%s</a></body></html>\n' "$title" "$text" "$title" > "site/$language.html"
  echo "rendered site/$language.html"
done < greetings.txt
