package turso

import "strings"

// WriteOp is what a statement of a push does.
type WriteOp uint8

// The operations. Statements of other forms are OpOther: schema changes, and
// what an application's transform hook made.
const (
	OpOther WriteOp = iota
	OpInsert
	OpUpdate
	OpDelete
)

// Write is a statement of a push, taken apart.
type Write struct {
	Op    WriteOp
	Table string
	Cols  []string // whose values come first among the arguments
	// Key are the columns of the primary key. Of updates and deletes their
	// values come next; with RowID there is one value, the client's rowid.
	Key   []string
	RowID bool
}

// ParseWrite takes a statement apart, if it has exactly the form in which the
// clients write row changes.
func ParseWrite(sql string) Write {
	for op, verb := range map[WriteOp]string{OpInsert: "INSERT INTO ", OpUpdate: "UPDATE ", OpDelete: "DELETE FROM "} {
		if rest, ok := strings.CutPrefix(sql, verb); ok {
			p := &parser{s: rest, w: Write{Op: op}}
			p.w.Table = p.name()
			switch op {
			case OpInsert:
				p.insert()
			case OpUpdate:
				p.accept(" SET ")
				p.w.Cols = p.assignments(", ")
				p.where()
			default:
				p.where()
			}
			if !p.bad && p.s == "" {
				return p.w
			}
		}
	}
	return Write{}
}

// parser reads a statement from its beginning, and notes when it has another
// form.
type parser struct {
	s   string
	bad bool
	w   Write
}

func (p *parser) take(text string) bool {
	rest, ok := strings.CutPrefix(p.s, text)
	if ok {
		p.s = rest
	}
	return ok
}

func (p *parser) accept(text string) { p.bad = !p.take(text) || p.bad }

// name reads an identifier in double quotes.
func (p *parser) name() string {
	p.accept(`"`)
	var b strings.Builder
	for !p.bad {
		i := strings.IndexByte(p.s, '"')
		if i < 0 {
			p.bad = true
			break
		}
		b.WriteString(p.s[:i])
		if p.s = p.s[i+1:]; !p.take(`"`) {
			break
		}
		b.WriteByte('"')
	}
	return b.String()
}

func (p *parser) names() (list []string) {
	p.accept("(")
	for !p.bad {
		list = append(list, p.name())
		if !p.take(", ") && !p.take(",") {
			break
		}
	}
	p.accept(")")
	return list
}

// assignments reads "column" = ? again and again.
func (p *parser) assignments(between string) (list []string) {
	for !p.bad {
		list = append(list, p.name())
		p.accept(" = ?")
		if !p.take(between) {
			break
		}
	}
	return list
}

func (p *parser) insert() {
	p.w.Cols = p.names()
	p.accept(" VALUES (" + strings.TrimSuffix(strings.Repeat("?,", len(p.w.Cols)), ",") + ")")
	if p.bad || p.s == "" {
		return
	}
	p.accept(" ON CONFLICT")
	p.w.Key = p.names()
	p.accept(" DO UPDATE SET ")
	for i, c := range p.w.Cols {
		if i > 0 {
			p.accept(",")
		}
		q := `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		p.accept(q + " = excluded." + q)
	}
}

func (p *parser) where() {
	p.accept(" WHERE ")
	if p.w.RowID = p.take("rowid = ?"); !p.w.RowID {
		p.w.Key = p.assignments(" AND ")
	}
}

// Statements that the rows of a push are wrapped into.
const (
	beginPush  = "BEGIN IMMEDIATE"
	commitPush = "COMMIT"
	createMark = "CREATE TABLE IF NOT EXISTS " + MarkTable
	writeMark  = "INSERT INTO " + MarkTable + "("
)

// ReadMark is how a client asks for its mark, before each push.
const ReadMark = "SELECT pull_gen, change_id FROM " + MarkTable + " WHERE client_id = ?"

// MarkTable is where clients keep how much of their changes the server has.
const MarkTable = "turso_sync_last_change_id"

// IsPush reports whether the statements of a batch are a push, and whether the
// last but one writes the mark.
func IsPush(n int, sql func(int) string) (push, marks bool) {
	if n < 3 || sql(0) != beginPush || sql(n-1) != commitPush || !strings.HasPrefix(sql(1), createMark) {
		return false, false
	}
	marks = strings.HasPrefix(sql(n-2), writeMark)
	return marks || n == 3, marks
}
