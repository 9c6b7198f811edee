package sqlite_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// TestRoundTrip binds each value, stores it in a column without affinity and
// wants the same bits back, from the parameter itself and from the table.
func TestRoundTrip(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(v BLOB)")
	for _, v := range []sqlite.Value{
		sqlite.Null(),
		sqlite.Int(0), sqlite.Int(1), sqlite.Int(-1), sqlite.Int(1 << 33),
		sqlite.Int(math.MaxInt64), sqlite.Int(math.MinInt64),
		sqlite.Real(0), sqlite.Real(1.5), sqlite.Real(-1e308), sqlite.Real(5e-324), sqlite.Real(1 << 53),
		sqlite.Real(math.Inf(1)), sqlite.Real(math.Inf(-1)), sqlite.Real(math.MaxFloat64),
		sqlite.Text(""), sqlite.Text("a"), sqlite.Text("a\x00b"), sqlite.Text("\x00"),
		sqlite.Text("héllo \U0001F600"), sqlite.Text("not utf-8 \xff\xfe"), sqlite.TextBytes(nil),
		sqlite.Text(strings.Repeat("x", 4095)), sqlite.Text(strings.Repeat("x", 4096)),
		sqlite.Text(strings.Repeat("y", 4097)), sqlite.Text(strings.Repeat("z", 1<<20)),
		sqlite.Blob(nil), sqlite.Blob([]byte{}), sqlite.Blob([]byte{0}), sqlite.Blob([]byte{0, 255, 0}),
		sqlite.Blob(bytes.Repeat([]byte{1, 0}, 5000)),
	} {
		exec(t, c, "DELETE FROM t")
		must(t, c.ExecArgs("INSERT INTO t VALUES(?)", v))
		checkValue(t, c, "SELECT ?1", v, v)
		checkValue(t, c, "SELECT v FROM t", v)
	}
}

func checkValue(t *testing.T, c *sqlite.Conn, sql string, want sqlite.Value, args ...sqlite.Value) {
	t.Helper()
	s := cached(t, c, sql)
	defer s.Done()
	must(t, s.BindArgs(args...))
	step(t, s)
	if got := s.Column(0); !got.Equal(want) || s.ColumnKind(0) != want.Kind {
		t.Errorf("%s: got %v %.40q, want %v %.40q", sql, got.Kind, got.Any(), want.Kind, want.Any())
	}
	if want.Kind == sqlite.KindText || want.Kind == sqlite.KindBlob {
		if s.ColumnText(0) != string(want.B) || !bytes.Equal(s.ColumnRaw(0), want.B) || !bytes.Equal(s.ColumnBlob(0), want.B) {
			t.Errorf("%s: bytes differ for %.40q", sql, want.Any())
		}
		if s.ColumnBlob(0) == nil || s.Column(0).B == nil {
			t.Errorf("%s: empty value became nil", sql)
		}
	}
	if want.Kind == sqlite.KindNull && (s.ColumnBlob(0) != nil || s.ColumnText(0) != "" || s.ColumnInt64(0) != 0) {
		t.Errorf("%s: NULL has a value", sql)
	}
}

// TestBindAppended: a blob is what was appended, whether there was room for it or
// not, and whatever was bound before.
func TestBindAppended(t *testing.T) {
	c := newConn(t)
	s := cached(t, c, "SELECT ?1")
	defer s.Done()
	for _, room := range []int{1, 100, 4096, 4097, 1 << 20} {
		for _, n := range []int{0, 1, room - 1, room, room + 1, 3 * room} {
			want := bytes.Repeat([]byte{byte(n), 7}, n)[:n]
			must(t, s.BindAppended(1, room, func(b []byte) []byte { return append(b, want...) }))
			step(t, s)
			if got := s.Column(0); got.Kind != sqlite.KindBlob || !bytes.Equal(got.B, want) {
				t.Errorf("room for %d: %d bytes became %v of %d", room, n, got.Kind, len(got.B))
			}
			must(t, s.Reset())
		}
	}
	fill := func(b []byte) []byte { return append(b, 1) }
	if s.BindAppended(0, 10, fill) == nil || s.BindAppended(2, 10, fill) == nil {
		t.Error("a parameter that does not exist was bound")
	}
	c.Limit(sqlite.LimitLength, 1000)
	if s.BindAppended(1, 2000, func(b []byte) []byte { return append(b, make([]byte, 1001)...) }) == nil {
		t.Error("a blob above the limit was bound")
	}
	must(t, s.BindAppended(1, 2000, fill))
}

func TestNaNIsNull(t *testing.T) {
	c := newConn(t)
	checkValue(t, c, "SELECT ?1", sqlite.Null(), sqlite.Real(math.NaN()))
}

// TestNegativeZero: only a REAL column, which stores whole numbers as integers,
// loses the sign.
func TestNegativeZero(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(v BLOB, r REAL)")
	minusZero := sqlite.Real(math.Copysign(0, -1))
	checkValue(t, c, "SELECT ?1", minusZero, minusZero)
	must(t, c.ExecArgs("INSERT INTO t VALUES(?1, ?1)", minusZero))
	checkValue(t, c, "SELECT v FROM t", minusZero)
	checkValue(t, c, "SELECT r FROM t", sqlite.Real(0))
}

func TestConversions(t *testing.T) {
	c := newConn(t)
	s := cached(t, c, "SELECT 42, 2.5, '17x', x'3939', NULL, zeroblob(3), CAST(1 AS REAL)")
	defer s.Done()
	step(t, s)
	for i, want := range []struct {
		i    int64
		f    float64
		text string
		kind sqlite.Kind
	}{
		{42, 42, "42", sqlite.KindInteger},
		{2, 2.5, "2.5", sqlite.KindFloat},
		{17, 17, "17x", sqlite.KindText},
		{99, 99, "99", sqlite.KindBlob},
		{0, 0, "", sqlite.KindNull},
		{0, 0, "\x00\x00\x00", sqlite.KindBlob},
		{1, 1, "1.0", sqlite.KindFloat},
	} {
		if got := s.ColumnKind(i); got != want.kind {
			t.Errorf("column %d is %v, want %v", i, got, want.kind)
		}
		if s.ColumnInt64(i) != want.i || s.ColumnFloat(i) != want.f || s.ColumnText(i) != want.text || string(s.ColumnBlob(i)) != want.text {
			t.Errorf("column %d: %d %v %q, want %d %v %q", i, s.ColumnInt64(i), s.ColumnFloat(i), s.ColumnText(i), want.i, want.f, want.text)
		}
		if got := s.ColumnKind(i); got != want.kind {
			t.Errorf("column %d is %v after conversion, want %v", i, got, want.kind)
		}
	}
}

func TestRealColumnStoredAsInteger(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(r REAL); INSERT INTO t VALUES(3)")
	checkValue(t, c, "SELECT r FROM t", sqlite.Real(3))
}

func TestUTF16Database(t *testing.T) {
	c := openPath(t, ":memory:", sqlite.Options{}, "PRAGMA encoding='UTF-16le'", "CREATE TABLE t(v)")
	v := sqlite.Text("zażółć \U0001F600")
	must(t, c.ExecArgs("INSERT INTO t VALUES(?)", v))
	checkValue(t, c, "SELECT v FROM t", v)
	if n := queryInt(t, c, "SELECT length(CAST(v AS BLOB)) FROM t"); n != 18 {
		t.Errorf("%d bytes", n)
	}
	var seen sqlite.Value
	c.PreUpdate(func(p *sqlite.PreUpdate) { seen, _ = p.Old(0) })
	exec(t, c, "DELETE FROM t")
	if !seen.Equal(v) {
		t.Errorf("hook saw %q", seen.Any())
	}
}

func TestLargeValue(t *testing.T) {
	if testing.Short() {
		t.Skip("100 MB")
	}
	c := newConn(t, "CREATE TABLE t(v)")
	big := make([]byte, 100<<20)
	for i := 0; i < len(big); i += 4096 {
		big[i] = byte(i >> 12)
	}
	must(t, c.ExecArgs("INSERT INTO t VALUES(?)", sqlite.Blob(big)))
	s := cached(t, c, "SELECT v FROM t")
	defer s.Done()
	step(t, s)
	if !bytes.Equal(s.ColumnRaw(0), big) {
		t.Error("100 MB blob differs")
	}
}

func TestTooBig(t *testing.T) {
	c := newConn(t)
	if old := c.Limit(sqlite.LimitLength, 10_000); old != 1_000_000_000 {
		t.Errorf("limit was %d", old)
	}
	err := c.ExecArgs("SELECT ?", sqlite.Text(strings.Repeat("x", 10_001)))
	wantCode(t, err, "SQLITE_TOOBIG")
	err = c.ExecArgs("SELECT ?", sqlite.Blob(make([]byte, 10_001)))
	wantCode(t, err, "SQLITE_TOOBIG")
	must(t, c.ExecArgs("SELECT ?", sqlite.Text(strings.Repeat("x", 9_999))))
	c.Limit(sqlite.LimitLength, 100)
	wantCode(t, c.ExecArgs("SELECT ?", sqlite.Text(strings.Repeat("x", 101))), "SQLITE_TOOBIG")
	c.Limit(sqlite.LimitSQLLength, 50)
	wantCode(t, c.Exec("SELECT "+strings.Repeat(" ", 50)+"1"), "SQLITE_TOOBIG")
}

func TestValueMethods(t *testing.T) {
	if sqlite.Int(1).Equal(sqlite.Real(1)) || sqlite.Text("").Equal(sqlite.Null()) || !sqlite.Blob(nil).Equal(sqlite.Blob([]byte{})) {
		t.Error("Equal")
	}
	if b, ok := sqlite.Blob(nil).Any().([]byte); !ok || b == nil {
		t.Error("empty blob is not a slice")
	}
	if sqlite.Null().Any() != nil || sqlite.Text("x").Any() != "x" || sqlite.Int(3).Any() != int64(3) || sqlite.Real(2).Any() != 2.0 {
		t.Error("Any")
	}
	for k, want := range []string{"null", "integer", "real", "text", "blob", "invalid"} {
		if got := sqlite.Kind(k).String(); got != want {
			t.Errorf("kind %d is %q", k, got)
		}
	}
}

func TestExtensions(t *testing.T) {
	c := newConn(t,
		"CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('the quick brown fox')",
		"CREATE VIRTUAL TABLE v USING vec0(e float[3]); INSERT INTO v(rowid, e) VALUES(1, '[1,2,3]'),(2, '[9,9,9]')",
		"CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
	)
	for sql, want := range map[string]string{
		"SELECT count(*) FROM f('quick')":                                       "1",
		"SELECT rowid FROM v WHERE e MATCH '[1,2,4]' ORDER BY distance LIMIT 1": "1",
		"SELECT json_extract('{\"a\":[1,2]}', '$.a[1]')":                        "2",
		"SELECT jsonb('[1]') IS NOT NULL":                                       "1",
		"SELECT round(sin(0) + pow(2, 10))":                                     "1024.0",
		"SELECT count(*) > 0 FROM dbstat":                                       "1",
		"SELECT length(data) FROM sqlite_dbpage WHERE pgno = 1":                 "4096",
		"SELECT sqlite_version()":                                               sqlite.SQLiteVersion,
		"PRAGMA foreign_keys":                                                   "1",
		"PRAGMA synchronous":                                                    "2",
		"PRAGMA journal_mode":                                                   "wal",
		"PRAGMA wal_autocheckpoint":                                             "1000",

		"SELECT count(*) FROM pragma_compile_options WHERE compile_options LIKE 'THR%1'": "1",
	} {
		if got := queryText(t, c, sql); got != want {
			t.Errorf("%s = %q, want %q", sql, got, want)
		}
	}
}
