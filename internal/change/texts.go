package change

// stmtKey names a statement that writes a row. Tables of equal names are
// different ones to it: changes may come from different versions of a schema.
type stmtKey struct {
	table *Table
	op    Op
	cols  string
}

// texts are the texts of statements, each made once. Beyond maxTexts bytes it
// begins anew.
type texts struct {
	m      map[stmtKey]string
	size   int
	schema int // as it was loaded when they were made
}

const maxTexts = 32 << 10

// of forgets the texts if the schema was loaded since, and returns t.
func (t *texts) of(schema int) *texts {
	if schema != t.schema {
		*t = texts{schema: schema}
	}
	return t
}

// get returns a text, which make makes if it isn't there.
func (t *texts) get(k stmtKey, make func() string) string {
	s, ok := t.m[k]
	if ok {
		return s
	}
	s = make()
	if t.m == nil || t.size > maxTexts {
		t.m, t.size = map[stmtKey]string{}, 0
	}
	t.m[k] = s
	t.size += len(s)
	return s
}
