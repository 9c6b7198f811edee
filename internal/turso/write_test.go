package turso

import (
	"reflect"
	"testing"
)

func TestParseWrite(t *testing.T) {
	for sql, want := range map[string]Write{
		`INSERT INTO "t"("id", "a ""b") VALUES (?,?) ON CONFLICT("id") DO UPDATE SET "id" = excluded."id","a ""b" = excluded."a ""b"`: {Op: OpInsert, Table: "t", Cols: []string{"id", `a "b`}, Key: []string{"id"}},
		`INSERT INTO "n"("v") VALUES (?)`:                                {Op: OpInsert, Table: "n", Cols: []string{"v"}},
		`UPDATE "c" SET "b" = ?, "v" = ? WHERE "a" = ? AND "b" = ?`:      {Op: OpUpdate, Table: "c", Cols: []string{"b", "v"}, Key: []string{"a", "b"}},
		`UPDATE "n" SET "v" = ? WHERE rowid = ?`:                         {Op: OpUpdate, Table: "n", Cols: []string{"v"}, RowID: true},
		`DELETE FROM "k" WHERE "k" = ?`:                                  {Op: OpDelete, Table: "k", Key: []string{"k"}},
		`DELETE FROM "n" WHERE rowid = ?`:                                {Op: OpDelete, Table: "n", RowID: true},
		`UPDATE "t" SET "n" = "n" + ? WHERE "id" = ?`:                    {},
		`INSERT INTO "n"("v") VALUES (?,?)`:                              {},
		`INSERT INTO "n"("v") VALUES (?);DROP TABLE n`:                   {},
		`CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x TEXT);`: {},
		`INSERT INTO "n`:                     {},
		`DELETE FROM "n" WHERE "v" = ? OR 1`: {},
		`INSERT INTO "t"("a") VALUES (?) ON CONFLICT("a") DO UPDATE SET 1`: {},
	} {
		if got := ParseWrite(sql); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", sql, got, want)
		}
	}
}

func FuzzParseWrite(f *testing.F) {
	f.Add(`UPDATE "c" SET "b" = ?, "v" = ? WHERE "a" = ? AND "b" = ?`)
	f.Add(`INSERT INTO "t"("id") VALUES (?) ON CONFLICT("id") DO UPDATE SET "id" = excluded."id"`)
	f.Fuzz(func(t *testing.T, sql string) {
		if w := ParseWrite(sql); w.Op != OpOther && len(w.Cols)+len(w.Key) == 0 && !w.RowID {
			t.Errorf("%+v", w)
		}
	})
}
