package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A browser shows every picture of the page, and nothing of it is wider than a phone
// or a desktop's window.
func TestPageInBrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("there is no chromium or google-chrome here")
	}
	dir := t.TempDir()
	runDir(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, "forecast.json"), []byte(forecastJSON), 0o666))
	page := written(t, dir)
	// The page itself needs no script. This one, added for the test, writes what it
	// measures into the title, which the browser prints with the rest.
	const measure = `<script>addEventListener("load", () => {
	const all = [...document.images], broken = all.filter(i => !i.complete || i.naturalWidth == 0);
	const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".tables > div") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName);
	document.title = "pictures " + all.length + " broken " + broken.length + " window " + innerWidth + " content " + document.documentElement.scrollWidth + " beyond " + wide.length + " " + wide[0];
})</script>`
	path := filepath.Join(dir, "measured.html")
	must(t, os.WriteFile(path, []byte(strings.Replace(page, "</body>", measure+"</body>", 1)), 0o666))
	said := regexp.MustCompile(`<title>pictures (\d+) broken (\d+) window (\d+) content (\d+) beyond (\d+) (\w+)`)
	for _, width := range []int{390, 1280} {
		// Headless windows are at least 500 pixels wide, so the phone is a frame in one.
		frame := filepath.Join(dir, fmt.Sprintf("frame-%d.html", width))
		must(t, os.WriteFile(frame, fmt.Appendf(nil, `<body style="margin:0"><iframe src="measured.html" style="border:0" width="%d" height="800"
			onload="setTimeout(() => { document.title = this.contentDocument.title }, 100)"></iframe>`, width), 0o666))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
			"--user-data-dir="+filepath.Join(dir, "profile"), "--virtual-time-budget=5000", "--window-size=1400,900", "--dump-dom", "file://"+frame).Output()
		must(t, err)
		m := said.FindStringSubmatch(string(out))
		if m == nil {
			t.Fatalf("%d pixels: the browser printed no measurement:\n%.500s", width, out)
		}
		var n [5]int // pictures, broken ones, width of the window and of the content, elements beyond
		for i := range n {
			n[i], err = strconv.Atoi(m[i+1])
			must(t, err)
		}
		if n[0] != 8 || n[1] != 0 {
			t.Errorf("%d pixels: %d pictures, %d of them broken; want 8 and none", width, n[0], n[1])
		}
		if n[2] != width || n[3] > width || n[4] != 0 {
			t.Errorf("the window has %d pixels, want %d; the content has %d; %d elements go beyond, %s the first", n[2], width, n[3], n[4], m[6])
		}
	}
}
