package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// Action is what may be done with a table, as bits.
type Action uint8

// The actions.
const (
	ActionRead Action = 1 << iota
	ActionAdd
	ActionUpdate
	ActionDelete

	actionWrite = ActionAdd | ActionUpdate | ActionDelete
)

// actionNames are Turso's names, in the order of the bits.
var actionNames = []string{"data_read", "data_add", "data_update", "data_delete"}

// allTables stands for all tables in a permission.
const allTables = "all"

// ErrScope is returned for permissions that make no sense.
var ErrScope = errors.New("tenant: bad permissions")

// Scope is the tables that somebody may use, and for what. Nil is everything.
type Scope struct {
	tables map[string]Action // by name in lower case
	all    Action            // with every table
	text   string
}

// ParseScope reads permissions: each TABLE:ACTION,ACTION… with Turso's names for
// actions and "all" for every table, or read:TABLE, push:TABLE. None are nil.
func ParseScope(permissions []string) (*Scope, error) {
	if len(permissions) == 0 {
		return nil, nil
	}
	s := &Scope{tables: map[string]Action{}}
	for _, p := range permissions {
		table, may, err := parsePermission(p)
		switch {
		case err != nil:
			return nil, err
		case table == allTables:
			s.all |= may
		default:
			s.tables[table] |= may
		}
	}
	s.text = strings.Join(s.Permissions(), " ")
	return s, nil
}

func parsePermission(p string) (table string, may Action, err error) {
	i := strings.LastIndexByte(p, ':')
	if i <= 0 || i == len(p)-1 {
		return "", 0, fmt.Errorf("%w: %q is not TABLE:ACTION,…", ErrScope, p)
	}
	table, actions := p[:i], p[i+1:]
	if !slices.Contains(actionNames, strings.Split(actions, ",")[0]) { // a table may have such a name
		switch table {
		case "read":
			table, may, actions = actions, ActionRead, ""
		case "push":
			table, may, actions = actions, actionWrite, ""
		}
	}
	for a := range strings.SplitSeq(actions, ",") {
		n := slices.Index(actionNames, a)
		switch {
		case n >= 0:
			may |= 1 << n
		case strings.HasPrefix(a, "schema_"):
			return "", 0, fmt.Errorf("%w: %s: whoever changes the schema reaches all tables, by views and triggers: use a token without tables", ErrScope, a)
		case actions != "":
			return "", 0, fmt.Errorf("%w: %q is not one of %s", ErrScope, a, strings.Join(actionNames, ", "))
		}
	}
	table = lower(table)
	if strings.HasPrefix(table, "sqlite_") || strings.HasPrefix(table, change.Prefix) && table != change.ConflictsTable {
		return "", 0, fmt.Errorf("%w: %s is not a table of yours", ErrScope, table)
	}
	return table, may, nil
}

// Permissions is the inverse of ParseScope.
func (s *Scope) Permissions() (list []string) {
	if s == nil {
		return nil
	}
	if s.all != 0 {
		list = append(list, allTables+":"+s.all.names())
	}
	for table, may := range s.tables {
		list = append(list, table+":"+may.names())
	}
	slices.Sort(list)
	return list
}

// String returns the permissions in one text, "" if everything is allowed.
func (s *Scope) String() string {
	if s == nil {
		return ""
	}
	return s.text
}

func (a Action) names() string {
	var list []string
	for i, name := range actionNames {
		if a&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

// ReadsAll reports whether every table may be read.
func (s *Scope) ReadsAll() bool { return s == nil || s.all&ActionRead != 0 }

// allows reports whether all of the actions are allowed with a table.
func (s *Scope) allows(table string, may Action) bool {
	return (s.all|s.tables[lower(table)])&may == may
}

// wrote returns an error if a captured transaction did by itself what is not
// allowed, with the tables that its statements named, or any if targets is nil:
// REPLACE does more than it says, and so does a row that is merged into another.
// What triggers and foreign keys did is not its author's doing.
func (s *Scope) wrote(c *change.Change, targets map[string]bool) error {
	if s == nil || c == nil {
		return nil
	}
	if targets == nil && c.ChangesSchema() {
		return errSchema
	}
	for _, e := range c.Intents() {
		if e.Op > change.OpDelete || e.Table.Name == change.ConflictsTable || targets != nil && !targets[lower(e.Table.Name)] {
			continue // allowed when it was prepared, or the server's own, or a view's trigger's
		}
		if need := actionOf(e.Op); !s.allows(e.Table.Name, need) {
			return denied(e.Table.Name, need)
		}
	}
	return nil
}

// pushes returns an error if a pushed change asks for what is not allowed. Who
// changes or deletes a row has to be told where it is: that is reading.
func (s *Scope) pushes(c *change.Change) error {
	if s == nil {
		return nil
	}
	for _, e := range c.Intents() {
		switch e.Op {
		case change.OpDDL:
			continue // a table that is there already may be created again: see wrote
		case change.OpSQL:
			return &ScopeError{What: "the token is for some tables only: it can't write to virtual tables by sync, use SQL over HTTP"}
		}
		need := actionOf(e.Op)
		if need != ActionAdd {
			need |= ActionRead
		}
		if !s.allows(e.Table.Name, need) {
			return denied(e.Table.Name, need)
		}
	}
	return nil
}

// visible returns the part of a commit that may be shown.
func (s *Scope) visible(c *change.Change) *change.Change {
	if s.ReadsAll() {
		return c
	}
	some := &change.Change{}
	for i := range c.Events {
		if e := &c.Events[i]; e.Table != nil && s.allows(e.Table.Name, ActionRead) {
			some.Events = append(some.Events, *e)
		}
	}
	return some
}

func actionOf(op change.Op) Action {
	switch op {
	case change.OpInsert:
		return ActionAdd
	case change.OpUpdate:
		return ActionUpdate
	}
	return ActionDelete
}

var errSchema = &ScopeError{What: "the token is for some tables only: it can't change the schema"}

// ScopeError says what somebody's permissions lack.
type ScopeError struct{ What string }

func (e *ScopeError) Error() string { return e.What }

func denied(table string, need Action) *ScopeError {
	return &ScopeError{What: fmt.Sprintf("the token doesn't allow %s on %s: it needs the permission %s:%s", need.names(), table, table, need.names())}
}

// lower folds the letters that SQLite does.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// readable are tables that anybody may read: the schema, and functions that look
// like tables.
var readable = []string{"sqlite_schema", "sqlite_master", "json_each", "json_tree", "jsonb_each", "jsonb_tree"}

// scopedPragmas are the settings that may be asked for with permissions; those
// that are true also with an argument, or be set.
var scopedPragmas = map[string]bool{
	"table_info": true, "table_xinfo": true, "table_list": true, "index_list": true, "index_info": true, "index_xinfo": true,
	"foreign_key_list": true, "defer_foreign_keys": true,
	"application_id": false, "user_version": false, "schema_version": false, "foreign_keys": false, "data_version": false, "encoding": false,
	"collation_list": false, "compile_options": false, "function_list": false, "journal_mode": false, "module_list": false, "page_count": false,
	"page_size": false, "freelist_count": false, "pragma_list": false,
}

// scoped is a statement that is prepared, or runs, with permissions.
type scoped struct {
	*Scope
	text    string            // of the statement
	shadows map[string]string // tables of virtual tables, and whose they are; these are their own
	targets map[string]bool   // tables that it writes to itself
}

// why returns why an action is not allowed, or "".
func (s *scoped) why(a sqlite.Action) string {
	switch a.Code {
	case sqlite.ActSelect, sqlite.ActRecursive, sqlite.ActTransaction, sqlite.ActSavepoint, sqlite.ActFunction:
		return ""
	case sqlite.ActPragma:
		takes, ok := scopedPragmas[lower(a.Arg1)]
		if ok && (takes || a.Arg2 == "") || slices.Contains(ignoredPragmas, lower(a.Arg1)) {
			return ""
		}
		return "PRAGMA " + a.Arg1 + " is not possible with a token for some tables"
	case sqlite.ActRead:
		return s.row(a, ActionRead)
	case sqlite.ActInsert:
		return s.row(a, ActionAdd)
	case sqlite.ActUpdate:
		return s.row(a, ActionUpdate)
	case sqlite.ActDelete:
		return s.row(a, ActionDelete)
	}
	return errSchema.What
}

func (s *scoped) row(a sqlite.Action, need Action) string {
	name := lower(a.Arg1)
	if need != ActionRead && a.Trigger == "" {
		s.targets[name] = true
	}
	if need != ActionRead && s.virtual(name) {
		need = actionWrite // an INSERT may be a command that deletes
	}
	own := need != ActionRead && strings.HasPrefix(name, "sqlite_") // "all" doesn't mean these
	if s.allows(name, need) && !own || s.inner(a.Trigger) {
		return ""
	}
	if need == ActionRead && (slices.Contains(readable, name) || strings.HasPrefix(name, "pragma_")) {
		return ""
	}
	// A virtual table keeps its rows in tables of its own.
	if owner := s.shadows[name]; owner != "" && owner != name {
		settings := need == ActionRead && name == owner+"_config"
		if need != ActionRead {
			need = actionWrite
		}
		if s.allows(owner, need) || settings && s.allows(owner, actionWrite) {
			return ""
		}
	}
	return denied(a.Arg1, need).What
}

func (s *scoped) virtual(name string) bool { return name != "" && s.shadows[name] == name }

// inner reports whether it is the schema that does something, in a trigger or a
// view of that name, and not the statement: these have the rights of who made
// them. A common table expression looks like a view: where there may be one, a
// name that the statement mentions is taken for its.
func (s *scoped) inner(name string) bool {
	if name == "" || strings.ContainsAny(name, "\"'`[]") {
		return false
	}
	text := lower(s.text)
	return !strings.Contains(text, "with") || !strings.Contains(text, lower(name))
}

// shadowTables returns virtual tables, and the tables in which they keep their rows,
// with the name of the former.
func shadowTables(conn *sqlite.Conn) (map[string]string, error) {
	st, err := conn.Cached("SELECT lower(name), type FROM pragma_table_list WHERE schema = 'main' AND type IN ('shadow', 'virtual')")
	if err != nil {
		return nil, err
	}
	defer st.Done()
	var virtual, shadow []string
	for {
		row, err := st.Step()
		if err != nil {
			return nil, err
		}
		if !row {
			break
		}
		if st.ColumnText(1) == "virtual" {
			virtual = append(virtual, st.ColumnText(0))
		} else {
			shadow = append(shadow, st.ColumnText(0))
		}
	}
	owners := map[string]string{}
	for _, v := range virtual {
		owners[v] = v
	}
	for _, name := range shadow {
		for _, v := range virtual {
			if strings.HasPrefix(name, v+"_") && len(v) > len(owners[name]) {
				owners[name] = v
			}
		}
	}
	return owners, nil
}
