"""The status page in a real browser, with and without JavaScript: its values are those of /metrics,
and no text of others is more than text (FAULTS H8, TC-OPS-04).

    status_browser.py PROGRAM SAMPLE                 the tests; skipped (77) without a browser
    status_browser.py PROGRAM SAMPLE --pictures DIR  status-page.png and status-page-dark.png of a
                                                     made-up day; needs libfaketime, pngquant"""

import fcntl
import html.parser
import pathlib
import re
import struct
import subprocess
import sys
import termios
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import browser  # noqa: E402
from status_served import PATIENCE_S, Served, samples  # noqa: E402

PROGRAM, SAMPLE = sys.argv[1:3]
ELEMENTS = {"html", "head", "meta", "title", "noscript", "style", "body", "p", "main", "h1", "h2",
            "span", "b", "i", "br", "small", "div", "section", "svg", "g", "path", "text", "rect",
            "table", "tbody", "tr", "th", "td", "a", "script"}
SLOT_S, SLOTS, FASTER = 600, 144, 2400
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Elements(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def is_read(link):
    """Not an octet of what was sent waits any more."""
    return struct.unpack("i", fcntl.ioctl(link, termios.TIOCOUTQ, b"\0" * 4))[0] == 0


class Page(unittest.TestCase):
    def setUp(self):
        self.served = Served(PROGRAM)
        self.url = f"http://127.0.0.1:{self.served.port}/"
        self.link = self.served.link()
        self.browser = browser.Browser()

    def tearDown(self):
        self.browser.__exit__()
        self.link.close()
        if self.served:
            self.assertEqual(self.served.end(), 0)

    def tell(self, messages):
        for message in messages:
            self.link.send(message)
        self.browser.wait(lambda: is_read(self.link), "the status process to read")

    def figures(self):
        """The numbers of the page, by the words behind or before them."""
        text = re.sub(r"<(title|small)>[^<]*</\1>|<i[^>]*></i>|<br>", "", self.browser.html())
        found = {words: int(number) for number, words in
                 re.findall(r"<div><b>(\d+)</b>([^<]+)</div>", text)}
        found |= {words: int(number) for words, number in
                  re.findall(r'<td>([^<]+)</td><td class="n">(\d+)', text)}
        return found

    def metrics(self):
        return {name: float(value) for name, value in
                re.findall(r"^(stsgate_\S+) (\S+)$", self.served.get("/metrics"), re.M)}

    def test_values_are_those_of_the_metrics(self):
        for slot in range(60, 63):
            self.tell(samples(SAMPLE, "day", slot))
        for script in (False, True):
            self.browser.open(self.url, script)
            page, told = self.figures(), self.metrics()

            def total(name, told=told, **labels):
                return sum(value for key, value in told.items() if key.split("{")[0] == name
                           and all(f'{k}="{v}"' in key for k, v in labels.items()))

            recipients = {"proven": ("mta-sts", "dane"), "TLS, not proven": ("tls",),
                          "in clear": ("clear",), "refused": ("refused",),
                          "rejected or failed": ("rejected", "failed")}
            for words, results in recipients.items():
                want = sum(total("stsgate_recipients_total", result=one) for one in results)
                self.assertGreater(want, 0)
                self.assertEqual(page[words], want, words)
            for words, name, labels in (
                    ("sessions", "stsgate_sessions_active", {}),
                    ("relayed untouched", "stsgate_relays_active", {}),
                    ("workers serving", "stsgate_workers", {"state": "serving"}),
                    ("records written", "stsgate_log_records_total", {"result": "written"}),
                    ("in force, mode enforce", "stsgate_policy_cache_entries", {"kind": "enforce"}),
                    ("fetches that succeeded", "stsgate_policy_fetch_total", {"result": "ok"}),
                    ("TLS reports sent", "stsgate_tlsrpt_reports_total", {"result": "sent"})):
                self.assertEqual(page[words], total(name, **labels), words)
            self.assertIn("old-mx.example", self.browser.html())

    def test_what_others_wrote_is_text(self):
        self.tell(samples(SAMPLE, "hostile"))
        for script in (False, True):
            self.browser.open(self.url, script)
            text = self.browser.html()
            elements = Elements(text)
            self.assertIn("owned", text)
            self.assertIn("xn--80ak6aa92e.example", text)
            self.assertEqual(set(elements.tags) - ELEMENTS, set())
            self.assertEqual([name for name in elements.attributes if name.startswith("on")], [])
            for once in ("script", "main", "h1", "style"):
                self.assertEqual(elements.tags.count(once), 1, once)
            self.assertNotIn("\u202e", text)
            self.assertEqual(self.browser.call("Target.getTargetInfo")["targetInfo"]["title"],
                             "stsgate")
            self.assertEqual(self.browser.seen("Page.javascriptDialogOpening"), [])
            self.assertEqual(self.browser.seen("Runtime.exceptionThrown"), [])
            for request in self.browser.seen("Network.requestWillBeSent"):
                self.assertTrue(request["request"]["url"].startswith(self.url), request)
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"),
                             self.browser.evaluate("innerWidth"), "a long name makes it no wider")

    def test_a_name_that_is_none_ends_the_link(self):
        """A worker that was taken over: its message is no message, and the page stays as it was."""
        self.tell(samples(SAMPLE, "day", 45))
        bad = [message.replace(b"old-mx.example", b"<b>x.example!!")
               for message in samples(SAMPLE, "day", 60)]
        self.assertIn(b"<b>x", b"".join(bad))
        for message in bad[:2]:
            self.link.send(message)
        self.link.settimeout(PATIENCE_S)
        self.assertEqual(self.link.recv(100), b"")
        self.browser.open(self.url)
        self.assertNotIn("x.example!!", self.browser.html())
        self.assertIn("the policy process is not heard", self.browser.html())

    def test_it_follows_by_itself(self):
        """With JavaScript the numbers change in place; and a gateway that has gone is told of."""
        self.tell(samples(SAMPLE, "day", 30))
        self.browser.open(self.url)
        before = self.figures()["records written"]
        self.browser.evaluate("window.same = true")
        self.tell(samples(SAMPLE, "day", 31))
        self.browser.wait(lambda: self.figures()["records written"] > before, "new numbers", 20)
        self.assertTrue(self.browser.evaluate("window.same"), "the page was loaded anew")
        self.assertEqual(self.served.end(), 0)
        self.served = None
        self.browser.wait(lambda: self.browser.evaluate("document.body.className") == "stale",
                          "a word that nobody answers", 20)

    def test_without_javascript_it_is_loaded_anew(self):
        self.assertIn('<noscript><meta http-equiv="refresh"', self.served.get("/"))


def make_pictures(folder):
    """A day in a minute: the process's wall clock runs faster."""
    page = browser.Browser(width=960)
    start = int(time.time()) // 86400 * 86400 + SLOT_S
    when = time.strftime("@%Y-%m-%d %H:%M:%S", time.localtime(start - SLOT_S))
    begun = time.time()
    served = Served(PROGRAM, {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{when} x{FASTER}",
                              "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    link = served.link()
    for slot in range(SLOTS - 6):
        time.sleep(max(0, begun + (slot + 1) * SLOT_S / FASTER + 0.1 - time.time()))
        for message in samples(SAMPLE, "day", slot, now=start + slot * SLOT_S):
            link.send(message)
    with page:
        for dark, name in ((False, "status-page.png"), (True, "status-page-dark.png")):
            page.dark(dark)
            page.open(f"http://127.0.0.1:{served.port}/")
            whole = folder / f"{name}.whole"
            whole.write_bytes(page.screenshot())
            subprocess.run(["pngquant", "--force", "--output", folder / name, "64", whole],
                           check=True)  # a third of the octets, and nobody sees it
            whole.unlink()
    served.end()


if __name__ == "__main__":
    if not browser.find():
        print("skipped: no Chromium is installed")
        sys.exit(77)
    if "--pictures" in sys.argv:
        make_pictures(pathlib.Path(sys.argv[sys.argv.index("--pictures") + 1]))
    else:
        unittest.main(argv=sys.argv[:1], verbosity=1)
