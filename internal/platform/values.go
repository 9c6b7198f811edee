package platform

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/agentdb/agentdb/internal/history"
)

// parseSize reads a size: bytes as a number, or a text such as "512mb". 0 is no
// limit.
func parseSize(raw json.RawMessage) (int64, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	var n int64
	s := string(raw)
	bad := fail(http.StatusBadRequest, "size_limit %s is not a size such as 512mb or 2gb", raw)
	if json.Unmarshal(raw, &n) != nil && json.Unmarshal(raw, &s) != nil {
		return 0, bad
	}
	s = strings.ToLower(strings.TrimSpace(s))
	unit := int64(1)
	for i, suffix := range []string{"kb", "mb", "gb", "tb"} {
		if short, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = short, int64(1)<<(10*(i+1))
		}
	}
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "b"), 64)
	if err != nil || !(f*float64(unit) >= 0 && f*float64(unit) <= 1<<50) {
		return 0, bad
	}
	size := int64(f * float64(unit))
	if size > 0 && size < history.PageSize {
		return 0, fail(http.StatusBadRequest, "size_limit %s is below a page of %d bytes", raw, history.PageSize)
	}
	return size, nil
}

// parseTime reads a time in RFC 3339, in UTC if it names no zone.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fail(http.StatusBadRequest, "%q is not a time such as 2026-01-31T12:00:00Z", s)
}

// parseLifetime reads a duration such as 7d, 2w3d, 12h or 1h30m; "", "never" and
// "none" are 0, for ever.
func parseLifetime(s string) (time.Duration, error) {
	if s == "" || s == "never" || s == "none" {
		return 0, nil
	}
	const day = 24 * time.Hour
	var total time.Duration
	rest := s
	for _, u := range []struct {
		suffix string
		unit   time.Duration
	}{{"y", 365 * day}, {"w", 7 * day}, {"d", day}} {
		if n, after, ok := strings.Cut(rest, u.suffix); ok {
			count, err := strconv.ParseUint(n, 10, 16)
			if err != nil || count > uint64(100*365*day/u.unit) {
				return 0, badLifetime(s)
			}
			total, rest = total+time.Duration(count)*u.unit, after
		}
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, badLifetime(s)
		}
		total += d
	}
	if total <= 0 {
		return 0, badLifetime(s)
	}
	return total, nil
}

// maxText is how long names are that are shown only, and maxMessage is how much
// of an error is, which may quote the request. In bytes.
const (
	maxText    = 256
	maxMessage = 800
)

// printable reports whether a text has no spaces, and nothing that isn't seen.
func printable(s string) bool {
	return visible(s) && !strings.ContainsFunc(s, unicode.IsSpace)
}

// visible is printable with spaces.
func visible(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

func badLifetime(s string) error {
	return fail(http.StatusBadRequest, "%q is not a duration such as 90m, 24h, 7d, 2w or never", s)
}
