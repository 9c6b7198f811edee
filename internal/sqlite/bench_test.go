package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

const benchSchema = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, score REAL, data BLOB)"

const benchInsert = "INSERT INTO t(name, age, score, data) VALUES(?1, ?2, ?3, ?4)"

func benchConn(b *testing.B, rows int) *sqlite.Conn {
	b.Helper()
	c, err := sqlite.Open(filepath.Join(b.TempDir(), "b.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	must(b, c.Exec(benchSchema+"; BEGIN"))
	for i := range rows {
		benchInsertRow(b, c, i, "person "+fmt.Sprint(i))
	}
	must(b, c.Exec("COMMIT"))
	return c
}

var benchBlob = make([]byte, 32)

func benchInsertRow(b *testing.B, c *sqlite.Conn, i int, name string) {
	s, err := c.Cached(benchInsert)
	if err != nil {
		b.Fatal(err)
	}
	s.BindText(1, name)
	s.BindInt64(2, int64(i))
	s.BindFloat(3, float64(i)*0.5)
	s.BindBlob(4, benchBlob)
	if _, err := s.Step(); err != nil {
		b.Fatal(err)
	}
	s.Done()
}

func BenchmarkPointRead(b *testing.B) {
	const rows = 10_000
	c := benchConn(b, rows)
	must(b, c.Exec("BEGIN"))
	var sink int
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s, err := c.Cached("SELECT name, age FROM t WHERE id = ?1")
		if err != nil {
			b.Fatal(err)
		}
		s.BindInt64(1, int64(i*7919%rows+1))
		row, err := s.Step()
		if !row || err != nil {
			b.Fatal(row, err)
		}
		sink += len(s.ColumnText(0)) + int(s.ColumnInt64(1))
		s.Done()
		i++
	}
}

func BenchmarkScan(b *testing.B) {
	const rows = 10_000
	c := benchConn(b, rows)
	must(b, c.Exec("BEGIN"))
	b.ReportAllocs()
	var sink float64
	for b.Loop() {
		s, err := c.Cached("SELECT id, name, age, score FROM t")
		if err != nil {
			b.Fatal(err)
		}
		for {
			row, err := s.Step()
			if err != nil {
				b.Fatal(err)
			}
			if !row {
				break
			}
			sink += float64(s.ColumnInt64(0)+s.ColumnInt64(2)+int64(len(s.ColumnText(1)))) + s.ColumnFloat(3)
		}
		s.Done()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

func BenchmarkInsertAutocommit(b *testing.B) {
	c := benchConn(b, 1)
	must(b, c.Exec("PRAGMA synchronous=OFF"))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		benchInsertRow(b, c, i, "somebody or other")
		i++
	}
}

func BenchmarkInsertBulk(b *testing.B) {
	c := benchConn(b, 1)
	must(b, c.Exec("BEGIN"))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		benchInsertRow(b, c, i, "somebody or other")
		i++
	}
	b.StopTimer()
	must(b, c.Exec("COMMIT"))
}

func BenchmarkInsertBulkHooked(b *testing.B) {
	c := benchConn(b, 1)
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		for i := range p.Columns() {
			p.New(i)
		}
	})
	must(b, c.Exec("BEGIN"))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		benchInsertRow(b, c, i, "somebody or other")
		i++
	}
	b.StopTimer()
	must(b, c.Exec("COMMIT"))
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "b.db")
	b.ReportAllocs()
	for b.Loop() {
		c, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkParallelRead has each goroutine read through a connection of its own.
func BenchmarkParallelRead(b *testing.B) {
	const rows = 10_000
	path := benchConn(b, rows).Filename()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		if err := c.Exec("BEGIN"); err != nil {
			b.Error(err)
		}
		for i := 0; pb.Next(); i++ {
			s, err := c.Cached("SELECT name, age FROM t WHERE id = ?1")
			if err != nil {
				b.Error(err)
				return
			}
			_ = s.BindInt64(1, int64(i*7919%rows+1))
			if row, err := s.Step(); !row || err != nil {
				b.Error(row, err)
			}
			_ = s.ColumnText(0)
			s.Done()
		}
	})
}
