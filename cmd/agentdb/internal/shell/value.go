package shell

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A value is what database/sql gives: nil, int64, float64, string, []byte, and,
// from a statement that writes, bool or time.Time.

// plain returns a value as text, whole: for modes that programs read.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return formatFloat(v)
	case bool:
		if v {
			return "1"
		}
		return "0"
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000000000Z")
	case []byte:
		return string(v)
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// formatFloat writes a float as SQLite does, with all its digits and always
// with a point or an exponent.
func formatFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Inf"
	case math.IsInf(f, -1):
		return "-Inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e15) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// literal returns a value as an SQL literal that evaluates to exactly it.
func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
			return "CAST(X'" + hex.EncodeToString([]byte(v)) + "' AS TEXT)"
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case []byte:
		return "X'" + hex.EncodeToString(v) + "'"
	case float64:
		switch {
		case math.IsInf(v, 1):
			return "9.0e+999"
		case math.IsInf(v, -1):
			return "-9.0e+999"
		}
		return formatFloat(v)
	default:
		return plain(v)
	}
}

// maxBlob is how many bytes of a blob a table shows.
const maxBlob = 16

// display returns a value as the lines of a table's cell.
func display(v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{"NULL"}
	case []byte:
		if len(v) <= maxBlob {
			return []string{"x'" + hex.EncodeToString(v) + "'"}
		}
		return []string{fmt.Sprintf("x'%x…' (%d bytes)", v[:maxBlob], len(v))}
	case string:
		lines := strings.Split(strings.ReplaceAll(v, "\r\n", "\n"), "\n")
		for i := range lines {
			lines[i] = printable(lines[i])
		}
		return lines
	default:
		return []string{plain(v)}
	}
}

// printable makes control characters visible, so that stored text can't steer
// a terminal.
func printable(s string) string {
	clean := func(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r < 0x20:
			b.WriteRune('␀' + r) // the control pictures
		case clean(r):
			b.WriteRune(r)
		default:
			b.WriteRune(utf8.RuneError)
		}
	}
	return b.String()
}

// quoteName quotes an identifier.
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
