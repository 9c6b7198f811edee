package agentdb

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// scanPlan says how a row of one statement becomes a value of one type. It is
// made once and belongs to the statement.
type scanPlan struct {
	typ   reflect.Type
	gen   uint32 // of the statement's columns
	shape shape
	names []string // of the columns, for maps and errors
	cols  []planCol
}

type shape uint8

const (
	shapeColumns shape = iota // a struct, or a single column at offset 0
	shapePointer              // a pointer to a struct
	shapeMap                  // map[string]any
	shapeList                 // []any
)

// planCol is one column with its place in the struct.
type planCol struct {
	decode decodeFunc
	index  int
	offset uintptr // in the struct, or in the last one that hops leads to
	hops   []hop   // through embedded pointers
}

// hop is an embedded pointer on the way to a field.
type hop struct {
	offset uintptr
	elem   reflect.Type
}

var (
	mapType  = reflect.TypeFor[map[string]any]()
	listType = reflect.TypeFor[[]any]()
)

// keptPlans bounds the types that a statement remembers plans for.
const keptPlans = 4

// planFor returns the plan for a type, as long as the columns are the same.
func (p *prepared) planFor(typ reflect.Type) (*scanPlan, error) {
	gen := p.st.Reprepared()
	for _, plan := range p.plans {
		if plan.typ == typ && plan.gen == gen {
			return plan, nil
		}
	}
	plan, err := newPlan(p.st, typ)
	if err != nil {
		return nil, err
	}
	plan.gen = gen
	if len(p.plans) >= keptPlans || len(p.plans) > 0 && p.plans[0].gen != gen {
		p.plans = nil
	}
	p.plans = append(p.plans, plan)
	return plan, nil
}

// scan reads the current row into dst, a typ.
func (p *prepared) scan(typ reflect.Type, dst unsafe.Pointer) error {
	plan, err := p.planFor(typ)
	if err != nil {
		return err
	}
	return plan.scan(p.st, dst)
}

func newPlan(st *sqlite.Stmt, typ reflect.Type) (*scanPlan, error) {
	plan := &scanPlan{typ: typ, names: make([]string, st.ColumnCount())}
	for i := range plan.names {
		plan.names[i] = st.ColumnName(i)
	}
	switch {
	case typ == mapType:
		plan.shape = shapeMap
		return plan, plan.checkUnique()
	case typ == listType:
		plan.shape = shapeList
		return plan, nil
	case isRecord(typ):
		return plan, plan.mapFields(st, typ)
	case typ.Kind() == reflect.Pointer && isRecord(typ.Elem()):
		plan.shape = shapePointer
		return plan, plan.mapFields(st, typ.Elem())
	}
	if len(plan.names) != 1 {
		return nil, fmt.Errorf("agentdb: the statement has %d columns, and %v holds one", len(plan.names), typ)
	}
	decode, err := decoderFor(typ, st.ColumnDeclType(0))
	if err != nil {
		return nil, fmt.Errorf("agentdb: %w", err)
	}
	plan.cols = []planCol{{decode: decode}}
	return plan, nil
}

// isRecord tells whether a type takes a row by its fields, and not a single column.
func isRecord(typ reflect.Type) bool {
	return typ.Kind() == reflect.Struct && typ != timeType && !reflect.PointerTo(typ).Implements(scannerType)
}

// checkUnique refuses a row in which a name would hide another.
func (plan *scanPlan) checkUnique() error {
	seen := make(map[string]bool, len(plan.names))
	for _, name := range plan.names {
		if seen[name] {
			return fmt.Errorf("agentdb: two columns are named %q; give one another name with AS", name)
		}
		seen[name] = true
	}
	return nil
}

// mapFields finds the field of each column. Columns without a field are
// skipped, so that a table may get another column while old programs run; but one must have a field.
func (plan *scanPlan) mapFields(st *sqlite.Stmt, typ reflect.Type) error {
	fields := listFields(typ, nil, nil)
	taken := make(map[*field]string)
	for i, name := range plan.names {
		f := findField(fields, name)
		if f == nil {
			continue
		}
		if other, ok := taken[f]; ok {
			return fmt.Errorf("agentdb: columns %q and %q both go to field %s of %v; give one another name with AS", other, name, f.name, typ)
		}
		taken[f] = name
		decode, err := decoderFor(f.typ, st.ColumnDeclType(i))
		if err != nil {
			return fmt.Errorf("agentdb: field %s of %v: %w", f.name, typ, err)
		}
		plan.cols = append(plan.cols, planCol{decode: decode, index: i, offset: f.offset, hops: f.hops})
	}
	if len(plan.cols) == 0 {
		return fmt.Errorf("agentdb: no column (%s) has a field in %v", strings.Join(plan.names, ", "), typ)
	}
	return nil
}

// scan reads the current row into dst.
func (plan *scanPlan) scan(st *sqlite.Stmt, dst unsafe.Pointer) error {
	switch plan.shape {
	case shapePointer:
		row := reflect.New(plan.typ.Elem())
		*(*unsafe.Pointer)(dst) = row.UnsafePointer()
		dst = row.UnsafePointer()
	case shapeMap:
		row := make(map[string]any, len(plan.names))
		for i, name := range plan.names {
			row[name] = columnValue(st, i)
		}
		*(*map[string]any)(dst) = row
		return nil
	case shapeList:
		row := make([]any, len(plan.names))
		for i := range row {
			row[i] = columnValue(st, i)
		}
		*(*[]any)(dst) = row
		return nil
	}
	for i := range plan.cols {
		col := &plan.cols[i]
		base := dst
		if col.hops != nil {
			base = follow(dst, col.hops)
		}
		if err := col.decode(st, col.index, unsafe.Add(base, col.offset)); err != nil {
			return plan.columnError(col.index, err)
		}
	}
	return nil
}

func (plan *scanPlan) columnError(i int, err error) error {
	return fmt.Errorf("agentdb: column %q: %w", plan.names[i], err)
}

// follow goes through embedded pointers and makes what they should point to.
func follow(base unsafe.Pointer, hops []hop) unsafe.Pointer {
	for _, h := range hops {
		p := (*unsafe.Pointer)(unsafe.Add(base, h.offset))
		if *p == nil {
			*p = reflect.New(h.elem).UnsafePointer()
		}
		base = *p
	}
	return base
}

// field is a field of a struct that a column may go to.
type field struct {
	name   string
	tag    string // db:"…", or ""
	typ    reflect.Type
	offset uintptr
	hops   []hop
	depth  int
}

// listFields lists the fields of a struct, those of embedded structs after its own.
func listFields(typ reflect.Type, via *field, seen []reflect.Type) []*field {
	for _, t := range seen {
		if t == typ {
			return nil // it embeds a pointer to itself
		}
	}
	seen = append(seen, typ)
	if via == nil {
		via = &field{}
	}
	var own, embedded []*field
	for i := range typ.NumField() {
		sf := typ.Field(i)
		tag, _, _ := strings.Cut(sf.Tag.Get("db"), ",")
		if tag == "-" {
			continue
		}
		f := &field{name: sf.Name, tag: tag, typ: sf.Type, offset: via.offset + sf.Offset, hops: via.hops, depth: via.depth + 1}
		if sf.Anonymous && tag == "" {
			if isRecord(sf.Type) {
				embedded = append(embedded, listFields(sf.Type, f, seen)...)
				continue
			}
			if sf.Type.Kind() == reflect.Pointer && isRecord(sf.Type.Elem()) && sf.IsExported() {
				f.hops = append(append([]hop(nil), via.hops...), hop{f.offset, sf.Type.Elem()})
				f.offset = 0
				embedded = append(embedded, listFields(sf.Type.Elem(), f, seen)...)
				continue
			}
		}
		if sf.IsExported() {
			own = append(own, f)
		}
	}
	return append(own, embedded...)
}

// findField returns the field for a column: by its tag or name, then without
// regard to case, then without regard to underscores as well. Of equals the one that is embedded least deep is taken.
func findField(fields []*field, column string) *field {
	bare := strings.ReplaceAll(column, "_", "")
	matches := [...]func(f *field) bool{
		func(f *field) bool { return f.tag == column },
		func(f *field) bool { return f.tag == "" && f.name == column },
		func(f *field) bool { return strings.EqualFold(f.label(), column) },
		func(f *field) bool {
			return f.tag == "" && strings.EqualFold(strings.ReplaceAll(f.name, "_", ""), bare)
		},
	}
	for _, match := range matches {
		var best *field
		for _, f := range fields {
			if match(f) && (best == nil || f.depth < best.depth) {
				best = f
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

func (f *field) label() string {
	if f.tag != "" {
		return f.tag
	}
	return f.name
}

// columnValue returns a column as nil, int64, float64, string or []byte.
func columnValue(st *sqlite.Stmt, i int) any {
	switch st.ColumnKind(i) {
	case sqlite.KindInteger:
		return st.ColumnInt64(i)
	case sqlite.KindFloat:
		return st.ColumnFloat(i)
	case sqlite.KindText:
		return st.ColumnText(i)
	case sqlite.KindBlob:
		return st.ColumnBlob(i)
	}
	return nil
}

// declaredValue is columnValue, with times and booleans where the column is declared so.
func declaredValue(st *sqlite.Stmt, i int, decl string) any {
	v := columnValue(st, i)
	switch x := v.(type) {
	case string:
		if declaredTime(decl) {
			if t, ok := parseTime(x); ok {
				return t
			}
		}
	case int64:
		if declaredTime(decl) {
			return unixTime(x)
		}
		if declaredBool(decl) && (x == 0 || x == 1) {
			return x == 1
		}
	}
	return v
}

var (
	timeType    = reflect.TypeFor[time.Time]()
	scannerType = reflect.TypeFor[sql.Scanner]()
	errNull     = errors.New("it is NULL; read it into a pointer or an sql.Null")
)
