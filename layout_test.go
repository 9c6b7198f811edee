package agentdb_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/agentdb/agentdb"

// The two halves, which never import each other: they meet in wire and change. A package stands for those below it too.
var (
	library = []string{".", "internal/replica"}
	service = []string{"server", "internal/history", "internal/tenant", "internal/hrana", "internal/turso", "internal/catalog", "internal/platform"}
)

// client is what programs manage a server with; it is made of the standard library only.
var client = []string{"platform"}

// outer packages may import everything, and only packages like them may import them. The last is the proof, which holds tests only.
var outer = []string{"cmd", "examples", "agentdbtest", "internal/proof"}

// onlyImporters says who alone may import something, by the beginning of its path.
var onlyImporters = map[string][]string{
	"modernc.org/":                     {"internal/sqlite"},
	"github.com/cockroachdb/":          {"internal/history"},
	"github.com/prometheus/":           {"server"},
	"github.com/coder/websocket":       {"server"},
	"go.opentelemetry.io/":             {"server", "cmd"},
	"github.com/golang-jwt/":           {"internal/catalog"},
	"github.com/go-jose/":              {"internal/catalog"},
	"golang.org/x/crypto/":             {"cmd"},
	"github.com/alecthomas/kong":       {"cmd"},
	"github.com/peterh/liner":          {"cmd"},
	"net/http/httptest":                {"agentdbtest"},
	"testing":                          {"agentdbtest", "internal/history/historytest"},
	"github.com/google/go-cmp/":        {},
	"pgregory.net/rapid":               {},
	"go.uber.org/goleak":               {},
	"github.com/rogpeppe/":             {},
	"github.com/santhosh-tekuri/":      {},
	"github.com/mattn/go-sqlite3":      {},
	"github.com/ncruces/":              {},
	"github.com/agentdb/agentdb/bench": {}, // a module of its own
	"C":                                {},
}

// TestImportsGoOneWay keeps cmd → {agentdb, server, platform} → internal → std in everything but tests.
func TestImportsGoOneWay(t *testing.T) {
	for file, f := range productFiles(t) {
		pkg := path.Dir(file)
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := forbidden(pkg, imp); why != "" {
				t.Errorf("%s imports %s: %s", file, imp, why)
			}
		}
	}
}

// forbidden says what is wrong with pkg importing imp, or nothing.
func forbidden(pkg, imp string) string {
	for prefix, allowed := range onlyImporters {
		if (imp == prefix || strings.HasPrefix(imp, strings.TrimSuffix(prefix, "/")+"/")) && !below(pkg, allowed) {
			return "only tests and " + strings.Join(allowed, ", ") + " may"
		}
	}
	if imp != module && !strings.HasPrefix(imp, module+"/") {
		if host, _, _ := strings.Cut(imp, "/"); below(pkg, client) && strings.Contains(host, ".") {
			return "the client is made of the standard library"
		}
		return ""
	}
	target := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
	if target == "" {
		target = "."
	}
	switch {
	case below(pkg, outer):
		return ""
	case below(target, outer):
		return "it stands on the outside"
	case below(pkg, client) || below(target, client):
		return "the client of the Platform API stands by itself"
	case below(pkg, library) && below(target, service):
		return "the library must not know the server"
	case below(pkg, service) && below(target, library):
		return "the server must not know the library"
	case strings.HasPrefix(pkg, "internal/") && !strings.HasPrefix(target, "internal/"):
		return "internal packages only import internal ones"
	case pkg == "internal/sqlite":
		return "the engine stands on nothing of ours"
	}
	return ""
}

// below tells whether pkg is one of list, or inside one. The root package has nothing inside it.
func below(pkg string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return pkg == p || p != "." && strings.HasPrefix(pkg, p+"/")
	})
}

// TestNoInit keeps importing a package without effect, but for the name of the database/sql driver.
func TestNoInit(t *testing.T) {
	for file, f := range productFiles(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && file != "driver_register.go" {
				t.Errorf("%s has an init function", file)
			}
		}
	}
}

// productFiles parses all Go files of the module that aren't tests, by their slash-separated paths.
func productFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		files[filepath.ToSlash(name)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files were found", len(files))
	}
	return files
}

// skipDir skips what isn't part of the module.
func skipDir(name string) error {
	base := filepath.Base(name)
	if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
		return filepath.SkipDir
	}
	if name != "." {
		if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
			return filepath.SkipDir
		}
	}
	return nil
}

// TestRootLinksLittle checks what a program that imports the root package only is made of.
func TestRootLinksLittle(t *testing.T) {
	out := goList(t, "CGO_ENABLED=0", "-deps", ".")
	for _, pkg := range strings.Fields(out) {
		for _, bad := range []string{
			module + "/server", module + "/internal/history", module + "/internal/tenant", module + "/cmd", "github.com/cockroachdb/",
			"github.com/prometheus/", "go.opentelemetry.io/", "google.golang.org/", "golang.org/x/crypto/", "golang.org/x/net/", "net/http/httptest", "testing", "runtime/cgo", "flag",
		} {
			if pkg == bad || strings.HasSuffix(bad, "/") && strings.HasPrefix(pkg, bad) || strings.HasPrefix(pkg, bad+"/") {
				t.Errorf("the root package links %s", pkg)
			}
		}
	}
	// What is written in C comes with the standard library, which does without if told to.
	for _, pkg := range strings.Fields(goList(t, "CGO_ENABLED=1", "-deps", "-f", "{{if .CgoFiles}}{{if not .Standard}}{{.ImportPath}}{{end}}{{end}}", ".")) {
		t.Errorf("the root package links %s, which needs cgo", pkg)
	}
}

func goList(t *testing.T, env string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), env)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	return string(out)
}
