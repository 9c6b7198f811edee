package workload

import (
	"math"
	"math/rand/v2"
	"sort"
	"strings"
)

// vocabulary is how many different words the generated text draws from; a large novel uses about as many.
const vocabulary = 8000

// Text makes reproducible prose: made-up words whose frequencies follow Zipf's law, as in natural languages, in sentences.
// What matters for a benchmark is that it compresses like real text (gzip -1: about 3 to 1), neither like 'xxxx' nor like noise.
type Text struct {
	rnd   *rand.Rand
	words []string
	cum   []float64
}

// NewText returns a generator; equal seeds give equal text.
func NewText(seed uint64) *Text {
	t := &Text{rnd: rand.New(rand.NewPCG(seed, 0x61676e74))}
	// The vocabulary is the same for all seeds, so that texts of different agents share words.
	words := rand.New(rand.NewPCG(1, 1))
	seen := make(map[string]bool, vocabulary)
	for len(t.words) < vocabulary {
		if w := word(words, 1+len(t.words)/600); !seen[w] {
			seen[w] = true
			t.words = append(t.words, w)
		}
	}
	sum := 0.0
	for i := range t.words {
		sum += 1 / math.Pow(float64(i+2), 1.0)
		t.cum = append(t.cum, sum)
	}
	return t
}

func word(r *rand.Rand, spread int) string {
	onset := []string{"b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "w", "st", "tr", "sh", "th", "pl", "cr"}
	nucleus := []string{"a", "e", "i", "o", "u", "ea", "ou", "ai"}
	coda := []string{"", "", "n", "r", "s", "t", "l", "nd", "st", "ck", "m"}
	var b strings.Builder
	for range 1 + r.IntN(min(spread+1, 4)) {
		b.WriteString(onset[r.IntN(len(onset))])
		b.WriteString(nucleus[r.IntN(len(nucleus))])
		b.WriteString(coda[r.IntN(len(coda))])
	}
	return b.String()
}

// Word returns one word; frequent words come often.
func (t *Text) Word() string {
	x := t.rnd.Float64() * t.cum[len(t.cum)-1]
	return t.words[sort.SearchFloat64s(t.cum, x)]
}

// Sentence returns text of exactly n bytes.
func (t *Text) Sentence(n int) string {
	var b strings.Builder
	b.Grow(n + 16)
	start, left := true, 0
	for b.Len() < n {
		if left == 0 {
			left = 4 + t.rnd.IntN(14)
			start = true
		}
		w := t.Word()
		if start {
			w, start = strings.ToUpper(w[:1])+w[1:], false
		}
		b.WriteString(w)
		if left--; left == 0 {
			b.WriteByte('.')
		} else if t.rnd.IntN(12) == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
	}
	return b.String()[:n]
}

// Between returns a number in [lo, hi).
func (t *Text) Between(lo, hi int) int { return lo + t.rnd.IntN(hi-lo) }

// Float returns a number in [0, 1).
func (t *Text) Float() float64 { return t.rnd.Float64() }

// Base36 returns n random characters, as JavaScript's Math.random().toString(36) gives.
func (t *Text) Base36(n int) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[t.rnd.IntN(36)]
	}
	return string(b)
}
