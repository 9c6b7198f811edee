package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A pkg is what the index knows about one package directory. It is a pure
// function of the directory's files: no types are checked, no build tags are
// evaluated, so that every machine finds the same.
type pkg struct {
	Path    string // below the source root, with slashes
	Name    string // as in the package clause
	Doc     string // the package comment
	Files   int
	Idents  int      // identifiers in all files
	Symbols []symbol // in order of file name and line
	Refs    []ref    // in order of target and name
}

// A symbol is a name declared at the top level of a package, or a method. One
// that is declared in several files, for different platforms, counts once.
type symbol struct {
	Kind  string // func, method, type, const or var
	Recv  string // a method's receiver type
	Name  string
	File  string // of the first declaration
	Line  int
	Decls int    // how many declarations there are
	Doc   string // of the first declaration that has one
}

// A ref counts how often a package says target.Name, target being an import.
type ref struct {
	Target string // import path
	Name   string
	Uses   int
}

// packageDirs lists the directories below root with Go source in them, in
// order: those of the standard library if root is GOROOT/src. Commands,
// test data and what the go command ignores don't count.
func packageDirs(root string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if p != root && (d.Name() == "testdata" || strings.ContainsAny(d.Name()[:1], "._") || p == filepath.Join(root, "cmd")) {
				return fs.SkipDir
			}
			return nil
		case !isSource(d.Name()):
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(p))
		if dir = filepath.ToSlash(dir); err == nil && (len(dirs) == 0 || dirs[len(dirs)-1] != dir) {
			dirs = append(dirs, dir)
		}
		return err
	})
	slices.Sort(dirs)
	return slices.Compact(dirs), err
}

// isSource tells whether a file is indexed.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// sample picks n of the directories, evenly spread; all of them if n is 0.
func sample(dirs []string, n int) []string {
	if n <= 0 || n >= len(dirs) {
		return dirs
	}
	picked := make([]string, n)
	for i := range picked {
		picked[i] = dirs[i*len(dirs)/n]
	}
	return picked
}

// parsePackage reads one package directory.
func parsePackage(root, dir string) (*pkg, error) {
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, e := range entries { // ReadDir sorts by name
		if e.IsDir() || !isSource(e.Name()) {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(dir), e.Name()), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", dir, err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("parse %s: no source", dir)
	}
	ix := &indexer{fset: fset, pkg: &pkg{Path: dir, Name: packageName(files)}, seen: map[symbolKey]int{}, uses: map[ref]int{}}
	for _, f := range files {
		if f.Name.Name == ix.pkg.Name {
			ix.file(f)
		}
	}
	ix.finish()
	return ix.pkg, nil
}

// packageName is the name that most files have; of several, the first one.
// Directories also hold generators, which belong to package main.
func packageName(files []*ast.File) string {
	count := map[string]int{}
	best := ""
	for _, f := range files {
		count[f.Name.Name]++
	}
	for name, n := range count {
		if best == "" || n > count[best] || n == count[best] && name < best {
			best = name
		}
	}
	return best
}

type symbolKey struct{ kind, recv, name string }

// indexer collects a package.
type indexer struct {
	fset    *token.FileSet
	pkg     *pkg
	seen    map[symbolKey]int // index in pkg.Symbols
	uses    map[ref]int
	imports map[string]string // of the current file: name to path
}

func (ix *indexer) file(f *ast.File) {
	ix.pkg.Files++
	if ix.pkg.Doc == "" {
		ix.pkg.Doc = f.Doc.Text()
	}
	ix.imports = importNames(f)
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			ix.function(d)
		case *ast.GenDecl:
			ix.general(d)
		}
	}
	ast.Inspect(f, ix.node)
}

// node counts identifiers, and selectors on the name of an import.
func (ix *indexer) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.Ident:
		ix.pkg.Idents++
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok {
			if target, ok := ix.imports[x.Name]; ok {
				ix.uses[ref{Target: target, Name: n.Sel.Name}]++
			}
		}
	}
	return true
}

func (ix *indexer) function(d *ast.FuncDecl) {
	kind, recv := "func", ""
	if d.Recv != nil && len(d.Recv.List) == 1 {
		kind, recv = "method", typeName(d.Recv.List[0].Type)
	}
	ix.add(kind, recv, d.Name, d.Doc.Text())
}

func (ix *indexer) general(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			ix.add("type", "", s.Name, cmp.Or(s.Doc.Text(), d.Doc.Text()))
		case *ast.ValueSpec:
			doc := s.Doc.Text()
			if doc == "" && !d.Lparen.IsValid() { // a group's comment is nobody's own
				doc = d.Doc.Text()
			}
			for _, name := range s.Names {
				ix.add(d.Tok.String(), "", name, doc)
			}
		}
	}
}

func (ix *indexer) add(kind, recv string, name *ast.Ident, doc string) {
	if name.Name == "_" {
		return
	}
	key := symbolKey{kind, recv, name.Name}
	i, ok := ix.seen[key]
	if !ok {
		pos := ix.fset.Position(name.Pos())
		i = len(ix.pkg.Symbols)
		ix.seen[key] = i
		ix.pkg.Symbols = append(ix.pkg.Symbols, symbol{Kind: kind, Recv: recv, Name: name.Name, File: filepath.Base(pos.Filename), Line: pos.Line})
	}
	s := &ix.pkg.Symbols[i]
	s.Decls++
	s.Doc = cmp.Or(s.Doc, doc)
}

func (ix *indexer) finish() {
	for r, n := range ix.uses {
		r.Uses = n
		ix.pkg.Refs = append(ix.pkg.Refs, r)
	}
	slices.SortFunc(ix.pkg.Refs, func(a, b ref) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Name, b.Name))
	})
}

// typeName is the name of a receiver's type without pointer and parameters.
func typeName(x ast.Expr) string {
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.ParenExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return "?"
		}
	}
}

// importNames maps the names of a file's imports to their paths. Without an
// explicit name it is the path's last element that isn't a major version.
func importNames(f *ast.File) map[string]string {
	names := make(map[string]string, len(f.Imports))
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(p)
		if isVersion(name) {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	return names
}

func isVersion(s string) bool {
	_, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	return err == nil && strings.HasPrefix(s, "v")
}
