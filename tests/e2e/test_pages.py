"""The pages: served to anybody, self-contained, and closed to what is not theirs."""

import html.parser
import pathlib
import re
import unittest
import urllib.request

from world import Server

PAGES = pathlib.Path(__file__).parents[2] / "web"
FETCHING = {"src", "href", "action", "poster", "data", "srcset", "formaction"}


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.pages = {}
        for path in ("/", "/b/0193a6b2-0000-7000-8000-000000000000", "/pools"):
            request = urllib.request.Request(cls.server.url + path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
            with urllib.request.urlopen(request, timeout=30) as answer:
                cls.pages[path] = (answer, answer.read().decode())

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def test_they_need_no_token_and_hold_no_data(self):
        for (answer, text), name in zip(self.pages.values(), ("builds.html", "build.html", "pools.html")):
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["Content-Type"], "text/html; charset=utf-8")
            self.assertEqual(text, (PAGES / name).read_text())

    def test_their_policy_lets_nothing_foreign_in_and_nobody_frame_them(self):
        for answer, _ in self.pages.values():
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
            self.assertEqual(policy["default-src"], "'none'")
            self.assertEqual(policy["connect-src"], "'self'")
            self.assertEqual(policy["frame-ancestors"], "'none'")
            self.assertNotRegex(str(policy), r"https?:|\*|unsafe-eval")
            self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")

    def test_they_name_nothing_outside_the_server(self):
        for _, text in self.pages.values():
            self.assertNotRegex(text, r"@import|url\(|https?://|[\"'`]//")
            for tag, attributes in Tags(text).tags:
                for name in FETCHING & attributes.keys():
                    self.assertRegex(attributes[name], r"^(/(?!/)|data:,$)", tag)

    def test_what_a_job_says_can_only_become_text(self):
        for _, text in self.pages.values():
            self.assertNotRegex(text, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser")

    def test_the_token_stays_out_of_addresses_and_forms(self):
        for _, text in self.pages.values():
            self.assertNotRegex(text, r"localStorage|document\.cookie|[?&]token=")
            field = next(attributes for tag, attributes in Tags(text).tags if attributes.get("id") == "token")
            self.assertNotIn("name", field)   # a form never sends a field without a name

    def test_every_element_the_script_asks_for_is_there(self):
        for _, text in self.pages.values():
            ids = {attributes["id"] for _, attributes in Tags(text).tags if "id" in attributes}
            self.assertEqual(set(re.findall(r'\$\("([\w-]+)"\)', text)) - ids, set())


if __name__ == "__main__":
    unittest.main()
