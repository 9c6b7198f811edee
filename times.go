package agentdb

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// timeLayout is how a time.Time is stored: in UTC and with a fixed width, so
// that comparing two texts compares two times. SQLite's date functions read it.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// formatTime returns t as it is stored.
func formatTime(t time.Time) (string, error) {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return "", fmt.Errorf("agentdb: a time in the year %d can't be stored: SQLite's dates have four digits", y)
	}
	return t.Format(timeLayout), nil
}

// readLayouts are the texts that are read as times: our own, those of SQLite's
// date functions, and those that other Go drivers write.
var readLayouts = [...]string{
	"2006-01-02T15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02T15:04:05.999999999",
	"2006-01-02",
	"2006-01-02 15:04Z07:00",
	"2006-01-02T15:04Z07:00",
	"2006-01-02 15:04",
	"2006-01-02T15:04",
	"2006-01-02 15:04:05.999999999 -0700 MST",
}

// parseTime reads a time of any of the layouts above; one without a zone is UTC.
func parseTime(s string) (time.Time, bool) {
	s, _, _ = strings.Cut(s, " m=") // the monotonic clock that time.Time.String adds
	for _, layout := range readLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// Unix times beyond this many seconds (the year 5138) are taken for milliseconds.
const maxUnixSeconds = 100_000_000_000

// unixTime reads a number as seconds, or milliseconds, since 1970.
func unixTime(n int64) time.Time {
	if n > maxUnixSeconds || n < -maxUnixSeconds {
		return time.UnixMilli(n).UTC()
	}
	return time.Unix(n, 0).UTC()
}

// julianTime reads a number as SQLite's julian day. It is exact to a millisecond, like SQLite's own functions.
func julianTime(day float64) (time.Time, bool) {
	const unixEpoch = 2440587.5
	ms := (day - unixEpoch) * 86_400_000
	if math.IsNaN(ms) || math.Abs(ms) > math.MaxInt64/2 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(ms))).UTC(), true
}

// declaredTime tells whether a column's declared type makes its texts and integers times.
func declaredTime(decl string) bool {
	base, _, _ := strings.Cut(decl, "(")
	base = strings.TrimSpace(base)
	for _, name := range [...]string{"DATETIME", "TIMESTAMP", "DATE", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"} {
		if strings.EqualFold(base, name) {
			return true
		}
	}
	return false
}

// declaredBool tells whether a column's declared type makes its 0 and 1 booleans.
func declaredBool(decl string) bool {
	return strings.EqualFold(decl, "BOOLEAN") || strings.EqualFold(decl, "BOOL")
}
