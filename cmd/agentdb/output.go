package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// writeJSON writes a value for programs.
func (c *console) writeJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeTable writes rows in columns under a head. Numbers are not set apart.
func (c *console) writeTable(head []string, rows [][]string) error {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i := range row {
			row[i] = onOneLine(row[i])
			widths[i] = max(widths[i], runewidth.StringWidth(row[i]))
		}
	}
	w := bufio.NewWriter(c.out)
	write := func(row []string, style, end string) {
		for i, s := range row {
			pad := strings.Repeat(" ", widths[i]-runewidth.StringWidth(s)+2)
			if i == len(row)-1 {
				pad = ""
			}
			_, _ = w.WriteString(style + s + end + pad) // a bufio.Writer keeps its first error
		}
		_ = w.WriteByte('\n')
	}
	if colored(c.out) {
		write(head, "\x1b[1m", "\x1b[0m")
	} else {
		write(head, "", "")
	}
	for _, row := range rows {
		write(row, "", "")
	}
	return w.Flush()
}

// writeFields writes names and what they are, leaving out what is empty.
func (c *console) writeFields(fields ...[2]string) error {
	width := 0
	for _, f := range fields {
		width = max(width, len(f[0]))
	}
	w := bufio.NewWriter(c.out)
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		name := fmt.Sprintf("%-*s", width, f[0])
		if colored(c.out) {
			name = "\x1b[2m" + name + "\x1b[0m"
		}
		_, _ = fmt.Fprintf(w, "%s  %s\n", name, onOneLine(f[1])) // a bufio.Writer keeps its first error
	}
	return w.Flush()
}

// onOneLine makes visible what would move the cursor.
func onOneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '␦'
		}
		return r
	}, s)
}

// colored reports whether output may be coloured.
func colored(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// confirm asks before something is lost. Without a terminal the answer has to be
// on the command line.
func (c *console) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(c.in) {
		return errors.New(question + " Say --yes")
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// showTime writes a time for humans, "" if it is zero.
func showTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// showSize writes a number of bytes for humans.
func showSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/(1<<10), "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if f < 1<<10 {
			break
		}
		f, unit = f/(1<<10), next
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// orDash stands in for what is empty in a table.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func showLimit(n int64) string {
	if n == 0 {
		return "none"
	}
	return showSize(n)
}
