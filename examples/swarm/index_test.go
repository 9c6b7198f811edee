package main

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/agentdb/agentdb"
)

// tree writes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPackageDirs(t *testing.T) {
	root := tree(t, map[string]string{
		"a/a.go": "package a", "a/b/b.go": "package b", "a-b/x.go": "package x", "a/z.go": "package a",
		"cmd/go/main.go": "package main", "x/cmd/y.go": "package cmd", "a/testdata/t.go": "package t",
		"only/o_test.go": "package only", ".git/g.go": "package g", "a/_gen/g.go": "package main", "text/readme.md": "",
	})
	dirs, err := packageDirs(root)
	if want := []string{"a", "a-b", "a/b", "x/cmd"}; err != nil || !slices.Equal(dirs, want) {
		t.Errorf("%q, %v; want %q", dirs, err, want)
	}
	if got := sample(dirs, 2); !slices.Equal(got, []string{"a", "a/b"}) {
		t.Errorf("two of them: %q", got)
	}
}

func TestParsePackage(t *testing.T) {
	root := tree(t, map[string]string{
		"p/a_linux.go": `// Package p is for tests.
package p

import (
	"math/rand/v2"
	str "strings"
)

// Limit is the first doc.
const Limit = 1

var x, _ = rand.Int(), str.ToUpper

// T is generic.
type T[K any] struct{}

func (t *T[K]) M() { str.ToUpper(""); t.M() }
`,
		"p/a_windows.go": "package p\n\n// other doc\nconst Limit = 2\nfunc M() {}\n",
		"p/gen.go":       "package main\n\nfunc main() {}\n",
		"p/p_test.go":    "package p\n\nfunc TestX() {}\n",
	})
	p, err := parsePackage(root, "p")
	if err != nil {
		t.Fatal(err)
	}
	want := &pkg{
		Path: "p", Name: "p", Doc: "Package p is for tests.\n", Files: 2, Idents: 23,
		Symbols: []symbol{
			{Kind: "const", Name: "Limit", File: "a_linux.go", Line: 10, Decls: 2, Doc: "Limit is the first doc.\n"},
			{Kind: "var", Name: "x", File: "a_linux.go", Line: 12, Decls: 1},
			{Kind: "type", Name: "T", File: "a_linux.go", Line: 15, Decls: 1, Doc: "T is generic.\n"},
			{Kind: "method", Recv: "T", Name: "M", File: "a_linux.go", Line: 17, Decls: 1},
			{Kind: "func", Name: "M", File: "a_windows.go", Line: 5, Decls: 1},
		},
		Refs: []ref{{"math/rand/v2", "Int", 1}, {"strings", "ToUpper", 2}},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	for _, dir := range []string{"none", "."} {
		if _, err := parsePackage(root, dir); err == nil {
			t.Errorf("%s was parsed", dir)
		}
	}
}

func TestMergeCount(t *testing.T) {
	seq := func(list ...string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, s := range list {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		got, want []string
		diff      difference
	}{
		"empty":     {nil, nil, difference{}},
		"equal":     {[]string{"a", "b", "b"}, []string{"a", "b", "b"}, difference{Got: 3, Want: 3}},
		"lost":      {[]string{"b"}, []string{"a", "b", "c"}, difference{Got: 1, Want: 3, Lost: 2}},
		"extra":     {[]string{"a", "b", "c"}, []string{"b"}, difference{Got: 3, Want: 1, Extra: 2}},
		"duplicate": {[]string{"a", "a"}, []string{"a"}, difference{Got: 2, Want: 1, Extra: 1}},
		"other":     {[]string{"a", "x"}, []string{"a", "y"}, difference{Got: 2, Want: 2, Lost: 1, Extra: 1}},
	} {
		if d, err := mergeCount(seq(c.got...), seq(c.want...)); err != nil || d != c.diff {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestCompareNotices changes what one process has written, row by row.
func TestCompareNotices(t *testing.T) {
	root := tree(t, map[string]string{
		"p/p.go": "// Package p has a doc comment.\npackage p\n\nimport \"fmt\"\n\n// F prints.\nfunc F() { fmt.Print() }\n",
		"q/q.go": "package q\n\n// G is in q.\nfunc G() {}\n",
	})
	ctx := context.Background()
	alone := func() *agentdb.DB {
		db, err := agentdb.Open(ctx, filepath.Join(t.TempDir(), "alone.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if err := indexAlone(ctx, db, root, []string{"p", "q"}); err != nil {
			t.Fatal(err)
		}
		return db
	}
	want := alone()
	base, err := readContent(ctx, want, "prints")
	if err != nil || base.Hits != 1 || base.Answer[0] != "p.F" || base.Integrity != "ok" {
		t.Fatalf("%+v, %v", base, err)
	}
	for change, table := range map[string]string{
		"UPDATE tasks SET state = 'claimed' WHERE dir = 'p'":                                     "tasks",
		"UPDATE packages SET idents = 0 WHERE path = 'p'":                                        "packages",
		"UPDATE symbols SET package_id = (SELECT max(package_id) FROM symbols) WHERE name = 'F'": "symbols",
		"DELETE FROM refs": "references",
		"DELETE FROM docs": "doc comments",
	} {
		got := alone()
		if _, err := got.Exec(ctx, change); err != nil {
			t.Fatal(err)
		}
		diffs, err := compare(ctx, got, want)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range diffs {
			if d.Table == table && d.Lost == 0 {
				t.Errorf("%s: nobody noticed: %+v", change, d)
			}
		}
		if c, err := readContent(ctx, got, "prints"); err != nil || c.Hash == base.Hash {
			t.Errorf("%s: the hash is the same, %v", change, err)
		}
	}
	if diffs, err := compare(ctx, alone(), want); err != nil || slices.ContainsFunc(diffs, func(d difference) bool { return d.Lost+d.Extra > 0 || d.Got != d.Want }) {
		t.Errorf("equal files differ: %+v, %v", diffs, err)
	}
	if c, err := readContent(ctx, alone(), "prints"); err != nil || c.Hash != base.Hash {
		t.Errorf("equal files hash differently: %v", err)
	}
}
