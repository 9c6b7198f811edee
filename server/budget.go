package server

import "sync/atomic"

// budget is a number of bytes that may be in use at any time.
type budget struct {
	max  int64
	used atomic.Int64
}

// take reserves n bytes, or reports that there are not as many left. A single
// reservation above the budget goes through alone.
func (b *budget) take(n int64) bool {
	if used := b.used.Add(n); used <= b.max || used == n {
		return true
	}
	b.used.Add(-n)
	return false
}

// give returns n bytes.
func (b *budget) give(n int64) { b.used.Add(-n) }
