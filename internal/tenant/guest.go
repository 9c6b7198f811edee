package tenant

import (
	"errors"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
)

// guest keeps SQL of clients inside its database. It belongs to the holder of
// the gate.
type guest struct {
	active bool   // statements are prepared for a client
	probe  *query // where the authorizer notes what it hears
	denied string // why it denied something
	lacks  bool   // that there is no such table
	// marking says that the server uses Turso's marks; asks, that a client asks
	// for its own, in the words in which all do.
	marking, asks bool
	cache         queryCache
	client        *Scope // what the client may do
	// targets are the tables that the statements of a client's transaction name.
	targets map[string]bool
	scope   *scoped // of the statement that is prepared, or runs; nil: none is, or all is allowed
}

// query is a prepared statement of a client.
type query struct {
	st       *sqlite.Stmt
	text     string
	control  string // BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE or ROLLBACK TO
	name     string // of a savepoint
	changes  bool   // INSERT, UPDATE or DELETE, as opposed to a schema change
	readOnly bool
	writer   bool   // what it reads is of the connection that writes
	pragma   string // a setting that was not prepared
	value    string // of it; "" asks for it
	used     uint64 // when, in ticks of the cache
}

// guestPragmas are the settings that clients may ask for and, if true, make.
// All others are denied: most are about the file, or the server.
var guestPragmas = map[string]bool{
	"application_id": true, "user_version": true, "defer_foreign_keys": true, "optimize": true,
	"foreign_key_check": true, "foreign_key_list": true, "index_info": true, "index_list": true, "index_xinfo": true,
	"integrity_check": true, "quick_check": true, "table_info": true, "table_list": true, "table_xinfo": true,
	"collation_list": false, "compile_options": false, "data_version": false, "encoding": false, "foreign_keys": false,
	"freelist_count": false, "function_list": false, "journal_mode": false, "max_page_count": false, "module_list": false,
	"page_count": false, "page_size": false, "pragma_list": false, "schema_version": false, "auto_vacuum": false,
	"read_uncommitted": false,
}

// ignoredPragmas are settings of a connection that change no result. Clients
// make them out of habit.
var ignoredPragmas = []string{
	"busy_timeout", "cache_size", "journal_mode", "mmap_size", "synchronous", "temp_store", "journal_size_limit", "wal_autocheckpoint",
	"read_uncommitted", // means something with a shared cache only
}

// deniedFunctions reach out of the database.
var deniedFunctions = []string{"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}

// makesTemporary reports whether an action is that of making something temporary,
// which CREATE TABLE temp.t does as well.
func makesTemporary(a sqlite.Action) bool {
	switch a.Code {
	case sqlite.ActCreateTempTable, sqlite.ActCreateTempIndex, sqlite.ActCreateTempTrigger, sqlite.ActCreateTempView:
		return true
	case sqlite.ActCreateTable, sqlite.ActCreateIndex, sqlite.ActCreateTrigger, sqlite.ActCreateView, sqlite.ActCreateVTable:
		return a.DB == "temp"
	}
	return false
}

// authorize is the authorizer of all statements; those of the server itself
// pass.
func (g *guest) authorize(a sqlite.Action) sqlite.Verdict {
	if v, ok := g.hidden(a); ok {
		return v
	}
	if !g.active {
		return sqlite.Allow
	}
	if g.scope != nil {
		if why := g.scope.why(a); why != "" {
			return g.deny(why)
		}
	}
	if makesTemporary(a) {
		return g.deny("temporary tables, views and triggers are not possible on this server: a connection serves many clients")
	}
	switch a.Code {
	case sqlite.ActAttach, sqlite.ActDetach:
		return g.deny(noAttach)
	case sqlite.ActFunction:
		if slices.Contains(deniedFunctions, strings.ToLower(a.Arg2)) {
			return g.deny("the function " + a.Arg2 + " is not possible on this server")
		}
	case sqlite.ActPragma:
		if g.probe != nil {
			g.probe.writer = true
		}
		return g.setting(strings.ToLower(a.Arg1), strings.ToLower(a.Arg2))
	}
	if g.probe != nil {
		g.probe.observe(a)
	}
	return sqlite.Allow
}

const noAttach = "ATTACH, DETACH and VACUUM are not possible on this server"

func (g *guest) deny(why string) sqlite.Verdict {
	g.denied, g.lacks = why, false
	return sqlite.Deny
}

// setting decides on a pragma. One that a session has to handle itself is noted
// in the probe, and denied.
func (g *guest) setting(name, value string) sqlite.Verdict {
	if takes, ok := guestPragmas[name]; ok && (takes || value == "") {
		return sqlite.Allow
	}
	if g.probe != nil && (name == "foreign_keys" || slices.Contains(ignoredPragmas, name)) {
		g.probe.pragma, g.probe.value = name, value
		return sqlite.Deny
	}
	return g.deny("PRAGMA " + name + " is not possible on this server")
}

func (q *query) observe(a sqlite.Action) {
	switch a.Code {
	case sqlite.ActTransaction:
		q.control = a.Arg1
	case sqlite.ActSavepoint:
		q.control, q.name = a.Arg1, a.Arg2
		switch q.control {
		case "BEGIN":
			q.control = "SAVEPOINT"
		case "ROLLBACK":
			q.control = "ROLLBACK TO"
		}
	case sqlite.ActFunction:
		q.writer = q.writer || strings.EqualFold(a.Arg2, "changes") || strings.EqualFold(a.Arg2, "total_changes")
	case sqlite.ActInsert, sqlite.ActUpdate, sqlite.ActDelete:
		if a.Trigger == "" && !strings.HasPrefix(a.Arg1, "sqlite_") {
			q.changes = true
		}
	}
}

// single returns the statement of a text that must hold no other; nil if it
// holds none.
func (g *guest) single(conn *sqlite.Conn, text string) (*query, error) {
	if g.client == nil { // what was prepared for others may do what they may
		if q := g.cache.take(text); q != nil {
			return q, nil
		}
	}
	q, tail, err := g.first(conn, text)
	if err != nil || q == nil {
		return nil, err
	}
	second, _, err := g.first(conn, tail)
	if second == nil && err == nil {
		if g.client == nil {
			q.text = text
		}
		return q, nil
	}
	q.finalize()
	second.finalize()
	if err == nil {
		err = ErrManyStatements
	}
	return nil, err
}

// first returns the first statement of a text, and the text after it; nil if
// there is none.
func (g *guest) first(conn *sqlite.Conn, text string) (*query, string, error) {
	for text != "" {
		q := &query{}
		leave, err := g.within(conn, text)
		if err != nil {
			return nil, "", err
		}
		g.probe, g.denied, g.lacks = q, "", false
		st, tail, err := conn.Prepare(text)
		g.probe = nil
		leave()
		if err != nil && q.pragma != "" {
			return q, afterStatement(text), nil
		}
		if err != nil {
			if begin, rest, ok := plainBegin(text); ok {
				q, _, err := g.first(conn, begin)
				return q, rest, err
			}
			return nil, "", g.explain(err)
		}
		if st != nil {
			if err := tooManyValues(st); err != nil {
				st.Finalize()
				return nil, "", err
			}
			q.st, q.readOnly = st, st.ReadOnly()
			if st.IsExplain() {
				q.control = ""
			}
			return q, tail, nil
		}
		text = tail
	}
	return nil, "", nil
}

// within applies the client's permissions to a statement until leave is called.
func (g *guest) within(conn *sqlite.Conn, text string) (leave func(), err error) {
	g.asks = text == turso.ReadMark
	if g.client == nil {
		return func() {}, nil
	}
	shadows, err := shadowTables(conn)
	if err != nil {
		return nil, err
	}
	if g.targets == nil {
		g.targets = map[string]bool{}
	}
	g.scope = &scoped{Scope: g.client, text: text, shadows: shadows, targets: g.targets}
	return func() { g.scope = nil }, nil
}

// plainBegin returns BEGIN for BEGIN CONCURRENT, which Turso's clients send:
// here every transaction has the database for itself.
func plainBegin(text string) (begin, rest string, ok bool) {
	rest = afterStatement(text)
	words := strings.Fields(strings.TrimRight(strings.TrimSpace(text[:len(text)-len(rest)]), ";"))
	return "BEGIN", rest, len(words) == 2 && strings.EqualFold(words[0], "BEGIN") && strings.EqualFold(words[1], "CONCURRENT")
}

// explain says why the authorizer denied a statement.
func (g *guest) explain(err error) error {
	var e *sqlite.Error
	if g.denied != "" && errors.As(err, &e) && e.Primary() == sqlite.CodeAuth {
		code := e.Code
		if g.lacks {
			code = sqlite.CodeError
		}
		return &sqlite.Error{Code: code, Message: g.denied, SQL: e.SQL, Offset: e.Offset}
	}
	return err
}

func (q *query) finalize() {
	if q != nil && q.st != nil {
		q.st.Finalize()
	}
}

// afterStatement returns what follows the first semicolon that ends a
// statement.
func afterStatement(sql string) string {
	text := false // of a statement, not only blanks
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case strings.HasPrefix(sql[i:], "--"):
			i += skipPast(sql[i:], "\n")
		case strings.HasPrefix(sql[i:], "/*"):
			i += 2 + skipPast(sql[i+2:], "*/")
		case c == ';' && text:
			return sql[i+1:]
		case c == '\'' || c == '"' || c == '`':
			i += 1 + skipPast(sql[i+1:], string(c))
		case c == '[':
			i += 1 + skipPast(sql[i+1:], "]")
		case c > ' ' && c != ';':
			text = true
		}
	}
	return ""
}

// skipPast returns the distance to the last byte of end in s, or of s.
func skipPast(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end) - 1
	}
	return len(s)
}

// Bounds of a queryCache.
const (
	maxQueries   = 128
	maxQueryText = 16 << 10
)

// queryCache keeps the statements that clients used last, by their text. One
// that is in use is not in it.
type queryCache struct {
	byText map[string]*query
	tick   uint64
}

func (c *queryCache) take(text string) *query {
	q := c.byText[text]
	if q != nil {
		delete(c.byText, text)
	}
	return q
}

// put resets a statement and keeps it, or finalizes it.
func (c *queryCache) put(q *query) {
	if q.st == nil {
		return
	}
	if q.text == "" || len(q.text) > maxQueryText || c.byText[q.text] != nil || q.st.Reset() != nil {
		q.finalize()
		return
	}
	q.st.ClearBindings()
	if c.byText == nil {
		c.byText = make(map[string]*query, maxQueries)
	}
	if len(c.byText) >= maxQueries {
		c.drop()
	}
	c.tick++
	q.used = c.tick
	c.byText[q.text] = q
}

// clear finalizes all statements.
func (c *queryCache) clear() {
	for _, q := range c.byText {
		q.finalize()
	}
	c.byText = nil
}

// drop finalizes the statement that has not been used for longest.
func (c *queryCache) drop() {
	var oldest *query
	for _, q := range c.byText {
		if oldest == nil || q.used < oldest.used {
			oldest = q
		}
	}
	delete(c.byText, oldest.text)
	oldest.finalize()
}
