package change

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// retabling is a schema change that gives a table another name: to is "" if it
// drops it, from if it does neither.
type retabling struct{ from, to string }

// retabled reads ALTER TABLE … RENAME TO and DROP TABLE.
func retabled(sql string) retabling {
	w := lexemes(sql, 12)
	is := func(i int, word string) bool { return i < len(w) && strings.EqualFold(w[i], word) }
	name := func(i int) (string, int) {
		if i+2 < len(w) && w[i+1] == "." {
			i += 2
		}
		if i >= len(w) {
			return "", i
		}
		return sqlite.Unquote(w[i]), i + 1
	}
	switch {
	case is(0, "alter") && is(1, "table"):
		if from, i := name(2); is(i, "rename") && is(i+1, "to") && len(w) == i+3 {
			return retabling{from, sqlite.Unquote(w[i+2])}
		}
	case is(0, "drop") && is(1, "table"):
		i := 2
		if is(2, "if") && is(3, "exists") {
			i = 4
		}
		from, _ := name(i)
		return retabling{from: from}
	}
	return retabling{}
}

// renamesTable reports whether an effect gives a table another name.
func (e *Event) renamesTable() bool { return e.Op == OpDDL && e.Effect && retabled(e.SQL).to != "" }

// RenamedTables returns the tables that the change gives other names, by the old ones.
func (c *Change) RenamedTables() (names []string) {
	for i := range c.Events {
		if e := &c.Events[i]; e.renamesTable() {
			names = append(names, retabled(e.SQL).from)
		}
	}
	return names
}

// GivesIDs reports whether the change gives ids to rows of a table, which may
// get others on the server.
func (c *Change) GivesIDs(table string) bool {
	return slices.ContainsFunc(c.Events, func(e Event) bool {
		return e.Intent && (e.Op == OpInsert || e.Op == OpUpdate && e.NewRowID != e.RowID) && e.byRowid() && strings.EqualFold(e.Table.Name, table)
	})
}

// lexemes returns the tokens of a statement, at most max.
func lexemes(sql string, max int) (list []string) {
	for sql != "" && len(list) < max {
		n := sqlite.Lexeme(sql)
		if !sqlite.IsBlank(sql) && sql[0] != ';' {
			list = append(list, sql[:n])
		}
		sql = sql[n:]
	}
	return list
}

// retable follows a schema change of the author's that was made, or had been
// made by others: what is known of the rows of a table goes by its new name from
// here on, and nothing is known of those of a table that is dropped.
func (x *Executor) retable(r retabling) {
	if r.from == "" {
		return
	}
	x.originates(r, x.origin(r.from))
	x.retableIDs(r)
	x.retabled = append(x.retabled, x.went.retable(r)...)
}

// retableIDs is retable for the ids and keys of own rows.
func (x *Executor) retableIDs(r retabling) {
	if r.to != "" && !strings.EqualFold(r.from, r.to) {
		x.retableIDs(retabling{from: r.to})
		x.asked[r.to] = max(x.asked[r.to], x.asked[r.from])
	}
	for _, k := range tableKeys(x.ids, r.from) {
		id := x.ids[k]
		x.back = append(x.back, idChange{k, id, true})
		delete(x.ids, k)
		if r.to != "" {
			x.setTo(idKey{r.to, k.id}, id)
		}
	}
	for _, key := range slices.Collect(maps.Keys(x.keys)) {
		table, rest, _ := strings.Cut(key, "\x00")
		if !strings.EqualFold(table, r.from) {
			continue
		}
		if r.to != "" {
			x.keys[r.to+"\x00"+rest] = x.keys[key]
		}
		if r.to != table {
			delete(x.keys, key)
		}
	}
}

// seedTable is retable for a schema change that was executed before: what others
// did to the rows was told already, as Own and Foreign came first.
func (x *Executor) seedTable(e *Event, r wire.OpResult) {
	if e.Op == OpDDL && r.Code != wire.OpRejected {
		if t := retabled(e.SQL); t.from != "" {
			x.retableIDs(t)
		}
	}
}

// retabledByOthers follows a table that others have renamed: own rows go by its
// old name still.
func (x *Executor) retabledByOthers(r retabling) {
	x.went.retable(r)
	for i := range x.others {
		if strings.EqualFold(x.others[i].to, r.from) {
			x.others[i].to = r.to
			return
		}
	}
	x.others = append(x.others, r)
}

// formerly returns where an own row is that was written when others had not
// renamed its table, or what stands for it if it could not be written any more.
func (x *Executor) formerly(k idKey) (to int64, ok bool) {
	for _, r := range x.others {
		if !strings.EqualFold(r.to, k.table) {
			continue
		}
		for own, to := range x.ids {
			if own.id != k.id || !strings.EqualFold(own.table, r.from) {
				continue
			}
			if x.cap.schema.find(r.from) != nil {
				return placeholder(k.id), true // it may be in another table, made since
			}
			return to, true
		}
	}
	return 0, false
}

// retable follows a table that has another name, or none. It returns what undoes
// that, the last first: a table that is gone goes by a name that none can have.
func (t *travels) retable(r retabling) (made []retabling) {
	rename := func(from, to string) {
		for _, from := range t.tables(from) {
			retableKeys(t.gone, from, to)
			retableKeys(t.mine, from, to)
			retableKeys(t.own, from, to)
			retableKeys(t.at, from, to)
			retableKeys(t.next, from, to)
			made = append(made, retabling{from, to})
		}
	}
	if strings.EqualFold(r.from, r.to) {
		return nil
	}
	if r.to != "" {
		rename(r.to, t.nameless())
		rename(r.from, r.to)
		return made
	}
	rename(r.from, t.nameless())
	return made
}

// nameless returns a name that no table has, another one each time.
func (t *travels) nameless() string {
	t.dropped++
	return "\x00" + strconv.Itoa(t.dropped)
}

// tables returns the names that a table goes by: they differ in case.
func (t *travels) tables(name string) []string {
	found := map[string]bool{}
	for _, list := range [][]idKey{tableKeys(t.gone, name), tableKeys(t.mine, name), tableKeys(t.own, name), tableKeys(t.at, name), tableKeys(t.next, name)} {
		for _, k := range list {
			found[k.table] = true
		}
	}
	return slices.Collect(maps.Keys(found))
}

// tableKeys returns the keys of a table's rows.
func tableKeys[V any](m map[idKey]V, table string) (list []idKey) {
	for k := range m {
		if strings.EqualFold(k.table, table) {
			list = append(list, k)
		}
	}
	return list
}

func retableKeys[V any](m map[idKey]V, from, to string) {
	for k, v := range m {
		if k.table == from {
			delete(m, k)
			m[idKey{to, k.id}] = v
		}
	}
}
