package sqlite_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// FuzzRoundTrip binds what the fuzzer makes up and wants it back bit for bit:
// from the parameter, from a table, from the pre-update hook and from a Go
// function. The same statements serve all inputs, so that stale buffers show.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(0), int64(0), []byte(nil))
	f.Add(uint8(1), int64(math.MinInt64), []byte("x"))
	f.Add(uint8(2), int64(math.Float64bits(math.Inf(-1))), []byte{})
	f.Add(uint8(2), int64(math.Float64bits(math.NaN())), []byte{})
	f.Add(uint8(3), int64(7), []byte("a\x00b\xff"))
	f.Add(uint8(4), int64(4096), []byte{0, 0, 0})
	c := newConn(f, "CREATE TABLE t(v BLOB)")
	var hooked sqlite.Value
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		if p.Op == sqlite.Insert {
			hooked, _ = p.New(0)
		}
	})
	must(f, c.CreateFunction("echo", 1, false, func(a []sqlite.Value) (sqlite.Value, error) { return a[0], nil }))
	f.Fuzz(func(t *testing.T, kind uint8, n int64, b []byte) {
		v := fuzzValue(kind, n, b)
		want := v
		if v.Kind == sqlite.KindFloat && math.IsNaN(v.Float()) {
			want = sqlite.Null()
		}
		checkValue(t, c, "SELECT ?1", want, v)
		checkValue(t, c, "SELECT echo(?1)", want, v)
		must(t, c.ExecArgs("DELETE FROM t"))
		must(t, c.ExecArgs("INSERT INTO t VALUES(?)", v))
		checkValue(t, c, "SELECT v FROM t", want)
		if !hooked.Equal(want) {
			t.Errorf("hook saw %v %q", hooked.Kind, hooked.Any())
		}
	})
}

// fuzzValue makes a value. Some texts and blobs are blown up past the sizes at
// which the layer changes how it binds.
func fuzzValue(kind uint8, n int64, b []byte) sqlite.Value {
	if len(b) > 0 && kind >= 128 {
		b = bytes.Repeat(b, int(uint64(n)%(8192/uint64(len(b))+1)))
	}
	switch kind % 5 {
	case 1:
		return sqlite.Int(n)
	case 2:
		return sqlite.Real(math.Float64frombits(uint64(n)))
	case 3:
		return sqlite.TextBytes(b)
	case 4:
		return sqlite.Blob(b)
	}
	return sqlite.Null()
}
