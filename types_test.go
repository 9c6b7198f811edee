package agentdb_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// roundTrip stores v and reads it back as a T, along with its storage class.
func roundTrip[T any](t *testing.T, db *agentdb.DB, v any) (T, string) {
	t.Helper()
	mustExec(t, db, "DELETE FROM v")
	mustExec(t, db, "INSERT INTO v (x) VALUES (?)", v)
	return mustGet[T](t, db, "SELECT x FROM v"), mustGet[string](t, db, "SELECT typeof(x) FROM v")
}

func same[T any](t *testing.T, db *agentdb.DB, v T, class string) {
	t.Helper()
	got, gotClass := roundTrip[T](t, db, v)
	if !reflect.DeepEqual(got, v) || gotClass != class {
		t.Errorf("%T %#v came back as %#v, stored as %s", v, v, got, gotClass)
	}
}

type (
	level  int8
	status string
	secret []byte
)

func TestTypesAreExact(t *testing.T) {
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE v (x)")
	for _, n := range []int64{0, 1, -1, 127, -128, 255, 1 << 31, math.MaxInt64, math.MinInt64, 1<<53 + 1} {
		same(t, db, n, "integer")
	}
	same(t, db, int(math.MinInt64), "integer")
	same(t, db, int8(-128), "integer")
	same(t, db, int16(math.MaxInt16), "integer")
	same(t, db, int32(math.MinInt32), "integer")
	same(t, db, uint(7), "integer")
	same(t, db, uint8(255), "integer")
	same(t, db, uint16(math.MaxUint16), "integer")
	same(t, db, uint32(math.MaxUint32), "integer")
	same(t, db, uint64(math.MaxInt64), "integer")
	for _, f := range []float64{0, 1.5, math.Pi, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), 1e300} {
		same(t, db, f, "real")
	}
	same(t, db, float32(0.1), "real")
	for _, s := range []string{"", "a", "NUL \x00 inside\x00", "héllo \U0001f600", "invalid \xff utf-8", strings.Repeat("x", 100_000)} {
		same(t, db, s, "text")
	}
	for _, b := range [][]byte{{}, {0}, {1, 2, 0, 3}, bytes.Repeat([]byte{9}, 100_000)} {
		same(t, db, b, "blob")
	}
	same(t, db, true, "integer")
	same(t, db, false, "integer")
	same(t, db, level(-3), "integer")
	same(t, db, status("open"), "text")
	same(t, db, secret("abc"), "blob")
	same(t, db, 5*time.Second, "integer")
	seven := 7
	same(t, db, &seven, "integer")
	same[*int](t, db, nil, "null")
	same[[]byte](t, db, nil, "null")
	same[any](t, db, nil, "null")
	same[any](t, db, "text", "text")
	same[any](t, db, int64(3), "integer")
	same(t, db, sql.NullString{String: "s", Valid: true}, "text")
	same(t, db, sql.NullInt64{}, "null")
	same(t, db, sql.Null[int64]{V: 4, Valid: true}, "integer")
	negZero, _ := roundTrip[float64](t, db, math.Copysign(0, -1))
	if negZero != 0 {
		t.Errorf("-0 came back as %v", negZero)
	}
}

func TestArgumentsThatAreRefused(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE v (x)")
	bad := []any{
		uint64(math.MaxInt64 + 1), math.NaN(), float32(math.NaN()),
		struct{ A int }{1},
		[]int{1},
		map[string]int{},
		[2]byte{},
		time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), make(chan int),
		failing{},
	}
	for _, v := range bad {
		if _, err := db.Exec(ctx, "INSERT INTO v VALUES (?)", v); err == nil {
			t.Errorf("%T %v was stored", v, v)
		} else if !strings.Contains(err.Error(), "argument 1") {
			t.Errorf("%T: %v", v, err)
		}
	}
	for _, args := range [][]any{{}, {1, 2}, {sql.Named("y", 1)}, {sql.Named("x", 1), 2}} {
		if _, err := db.Exec(ctx, "INSERT INTO v VALUES (:x)", args...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM v"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

type failing struct{}

func (failing) Value() (driver.Value, error) { return nil, errors.New("no value") }

// point is stored as one text.
type point struct{ x, y string }

func (p point) Value() (driver.Value, error) { return p.x + "," + p.y, nil }

func (p *point) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return errors.New("a point is a text")
	}
	p.x, p.y, _ = strings.Cut(s, ",")
	return nil
}

func TestValuersAndScanners(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE v (x)")
	same(t, db, point{"1", "2"}, "text")
	same(t, db, &point{"1", "2"}, "text")
	same[*point](t, db, nil, "null")
	if _, err := agentdb.Get[point](ctx, db, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "a point is a text") {
		t.Errorf("scan: %v", err)
	}
}

// bomb panics when it is read.
type bomb struct{}

func (*bomb) Scan(any) error { panic("bomb") }

// A panic in the user's code leaves no statement open, which would keep an old snapshot.
func TestPanicWhileReading(t *testing.T) {
	ctx := context.Background()
	db := open(t, &agentdb.Options{Readers: 1})
	mustExec(t, db, "CREATE TABLE v (x); INSERT INTO v VALUES (1)")
	survive := func(f func()) {
		defer func() {
			if r := recover(); r != "bomb" {
				t.Errorf("recovered %v", r)
			}
		}()
		f()
	}
	survive(func() { _, _ = agentdb.Get[bomb](ctx, db, "SELECT x FROM v") })
	survive(func() { _, _ = agentdb.All[bomb](ctx, db, "SELECT x FROM v") })
	survive(func() {
		for range agentdb.Iter[int](ctx, db, "SELECT x FROM v") {
			panic("bomb")
		}
	})
	survive(func() { _, _ = agentdb.Get[bomb](ctx, db, "UPDATE v SET x = 5 RETURNING x") })
	survive(func() {
		_ = db.Update(ctx, func(tx *agentdb.Tx) error {
			for range agentdb.Iter[int](ctx, tx, "SELECT x FROM v") {
				panic("bomb")
			}
			return nil
		})
	})
	for i := range 3 {
		mustExec(t, db, "UPDATE v SET x = ?", i)
		if n := mustGet[int](t, db, "SELECT x FROM v"); n != i {
			t.Errorf("%d was read, %d written", n, i)
		}
	}
}

func TestTimes(t *testing.T) {
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE v (x)")
	zone := time.FixedZone("", 3600)
	at := time.Date(2026, 3, 4, 5, 6, 7, 80, zone)
	got, _ := roundTrip[time.Time](t, db, at)
	if !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("came back as %v", got)
	}
	if text := mustGet[string](t, db, "SELECT x FROM v"); text != "2026-03-04T04:06:07.000000080Z" {
		t.Errorf("stored as %q", text)
	}
	if s := mustGet[string](t, db, "SELECT datetime(x) FROM v"); s != "2026-03-04 04:06:07" {
		t.Errorf("SQLite reads it as %q", s)
	}
	if null, _ := roundTrip[sql.NullTime](t, db, at); !null.Valid || !null.Time.Equal(at) {
		t.Errorf("sql.NullTime: %v", null)
	}
	if null, _ := roundTrip[sql.Null[time.Time]](t, db, at); !null.Valid || !null.V.Equal(at) {
		t.Errorf("sql.Null: %v", null)
	}
	if p, _ := roundTrip[*time.Time](t, db, nil); p != nil {
		t.Errorf("NULL: %v", p)
	}
	want := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, v := range []any{
		"2026-03-04 05:06:07", "2026-03-04T05:06:07", "2026-03-04 05:06:07Z", "2026-03-04 06:06:07+01:00", "2026-03-04T05:06:07.000Z",
		"2026-03-04 05:06:07 +0000 UTC", "2026-03-04 06:06:07 +0100 CET m=+0.5", want.Unix(), want.UnixMilli(), 2461103.7125810185,
	} {
		if got, _ := roundTrip[time.Time](t, db, v); !got.Equal(want) {
			t.Errorf("%v was read as %v", v, got)
		}
	}
	if got, _ := roundTrip[time.Time](t, db, "2026-03-04"); got.Day() != 4 {
		t.Errorf("a day was read as %v", got)
	}
	for _, v := range []any{"yesterday", "", nil, []byte("2026-03-04")} {
		mustExec(t, db, "UPDATE v SET x = ?", v)
		if got, err := agentdb.Get[time.Time](context.Background(), db, "SELECT x FROM v"); err == nil {
			t.Errorf("%v was read as %v", v, got)
		}
	}
}

func TestConversionsAreExactOrRefused(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	refused := map[string]func(q string) error{
		"SELECT 300":                 getErr[int8](ctx, db),
		"SELECT -1":                  getErr[uint64](ctx, db),
		"SELECT 1.5":                 getErr[int](ctx, db),
		"SELECT 1e19":                getErr[int64](ctx, db),
		"SELECT 'a'":                 getErr[int](ctx, db),
		"SELECT x'00'":               getErr[int](ctx, db),
		"SELECT 'b'":                 getErr[float64](ctx, db),
		"SELECT 9007199254740993":    getErr[float64](ctx, db),
		"SELECT 1e300":               getErr[float32](ctx, db),
		"SELECT 2":                   getErr[bool](ctx, db),
		"SELECT NULL":                getErr[string](ctx, db),
		"SELECT NULL AS n":           getErr[int](ctx, db),
		"SELECT 9223372036854775807": getErr[float64](ctx, db),
	}
	for text, get := range refused {
		if err := get(text); err == nil || !strings.Contains(err.Error(), "column") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if n := mustGet[int](t, db, "SELECT '42'"); n != 42 {
		t.Errorf("text to int: %d", n)
	}
	if n := mustGet[int](t, db, "SELECT 4.0"); n != 4 {
		t.Errorf("real to int: %d", n)
	}
	if f := mustGet[float64](t, db, "SELECT 4"); f != 4 {
		t.Errorf("int to float: %v", f)
	}
	if s := mustGet[string](t, db, "SELECT 42"); s != "42" {
		t.Errorf("int to string: %q", s)
	}
	if b := mustGet[bool](t, db, "SELECT 'true'"); !b {
		t.Error("text to bool")
	}
}

func getErr[T any](ctx context.Context, db *agentdb.DB) func(string) error {
	return func(text string) error {
		_, err := agentdb.Get[T](ctx, db, text)
		return err
	}
}

func TestNamedArguments(t *testing.T) {
	db := open(t, nil)
	got := mustGet[string](t, db, "SELECT :a || @b || $c || ?", sql.Named("c", "C"), sql.Named("a", "A"), "D", sql.Named("b", "B"))
	if got != "ABCD" {
		t.Errorf("got %q", got)
	}
	if got := mustGet[string](t, db, "SELECT ?2 || ?1 || ?2", "a", "b"); got != "bab" {
		t.Errorf("numbered: %q", got)
	}
	if got := mustGet[string](t, db, "SELECT :x || :y", "a", "b"); got != "ab" {
		t.Errorf("by position: %q", got)
	}
}
