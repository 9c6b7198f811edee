package platform

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Point is a point in the history of a database; the zero Point is its newest
// revision.
type Point struct {
	revision *uint64
	time     time.Time
}

// AtRevision is the point of a revision; 0 is before the first commit. agentdb
// only.
func AtRevision(n uint64) Point { return Point{revision: &n} }

// AtTime is the point that a database had reached at a time.
func AtTime(t time.Time) Point { return Point{time: t} }

// String returns the point as people write it.
func (p Point) String() string {
	switch {
	case p.revision != nil:
		return "revision " + strconv.FormatUint(*p.revision, 10)
	case !p.time.IsZero():
		return formatTime(p.time)
	}
	return "the newest revision"
}

// timestamp returns the point's time, "" if it has none.
func (p Point) timestamp() string {
	if p.revision != nil || p.time.IsZero() {
		return ""
	}
	return formatTime(p.time)
}

// into adds the point to a request.
func (p Point) into(body map[string]any) {
	if p.revision != nil {
		body["revision"] = *p.revision
	} else if t := p.timestamp(); t != "" {
		body["timestamp"] = t
	}
}

func formatSize(n int64) string { return strconv.FormatInt(n, 10) }

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// formatSpan returns a duration as both APIs read it, such as 2d3h, in whole
// seconds; "" for 0.
func formatSpan(d time.Duration) string {
	s := int64((d + time.Second - 1) / time.Second)
	var b strings.Builder
	for _, u := range []struct {
		name    string
		seconds int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}} {
		if n := s / u.seconds; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			s %= u.seconds
		}
	}
	return b.String()
}

// span is a duration in JSON: a text such as 30m0s.
type span time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (s *span) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil || text == "" {
		return err
	}
	d, err := time.ParseDuration(text)
	*s = span(d)
	return err
}

// size is a number of bytes in JSON: a number, or a text with one.
type size int64

// UnmarshalJSON implements json.Unmarshaler.
func (s *size) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" || text == "null" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	*s = size(n)
	return err
}
