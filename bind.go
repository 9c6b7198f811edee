package agentdb

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// keptBindings is how many bytes of arguments may stay bound to a cached
// statement between two runs. More are released at once.
const keptBindings = 4 << 10

// bindArgs binds all parameters of a statement; there must be exactly one argument for each. It returns the number of bytes bound.
func bindArgs(st *sqlite.Stmt, params int, args []any) (size int, err error) {
	for i, arg := range args {
		if _, ok := arg.(sql.NamedArg); ok {
			return bindNamed(st, params, args)
		}
		if i >= params {
			break
		}
		n, err := bindValue(st, i+1, arg)
		if err != nil {
			return 0, argError(i+1, err)
		}
		size += n
	}
	if len(args) != params {
		return 0, countError(len(args), params)
	}
	return size, nil
}

// bindNamed binds arguments of which at least one is named: those by their
// name (:x, @x or $x), the others in order to the parameters that are left.
func bindNamed(st *sqlite.Stmt, params int, args []any) (size int, err error) {
	bound := make([]bool, params+1)
	used := 0
	bind := func(pos, i int, v any) error {
		n, err := bindValue(st, i, v)
		if err != nil {
			return argError(pos, err)
		}
		size += n
		bound[i] = true
		used++
		return nil
	}
	for pos, arg := range args {
		named, ok := arg.(sql.NamedArg)
		if !ok {
			continue
		}
		i := paramIndex(st, named.Name)
		if i == 0 {
			return 0, fmt.Errorf("agentdb: the statement has no parameter named %q", named.Name)
		}
		if err := bind(pos+1, i, named.Value); err != nil {
			return 0, err
		}
	}
	next := 1
	for pos, arg := range args {
		if _, ok := arg.(sql.NamedArg); ok {
			continue
		}
		for next <= params && bound[next] {
			next++
		}
		if next > params {
			return 0, countError(len(args), params)
		}
		if err := bind(pos+1, next, arg); err != nil {
			return 0, err
		}
	}
	if used != params || len(args) != params {
		return 0, countError(len(args), params)
	}
	return size, nil
}

func paramIndex(st *sqlite.Stmt, name string) int {
	for _, prefix := range [...]string{":", "@", "$"} {
		if i := st.BindIndex(prefix + name); i > 0 {
			return i
		}
	}
	return 0
}

func argError(pos int, err error) error {
	return fmt.Errorf("agentdb: argument %d: %w", pos, err)
}

func countError(args, params int) error {
	return fmt.Errorf("agentdb: %d arguments for a statement with %d parameters", args, params)
}

var (
	errNaN  = errors.New("NaN: SQLite would store NULL in its place")
	errUint = errors.New("the unsigned number is greater than the largest int64, and SQLite has nothing larger")
)

// bindValue binds one argument. The common types come first, without reflection.
func bindValue(st *sqlite.Stmt, i int, arg any) (size int, err error) {
	switch v := arg.(type) {
	case nil:
		return 0, st.BindNull(i)
	case int:
		return 0, st.BindInt64(i, int64(v))
	case int64:
		return 0, st.BindInt64(i, v)
	case string:
		return len(v), st.BindText(i, v)
	case float64:
		return 0, bindFloat(st, i, v)
	case []byte:
		return len(v), bindBytes(st, i, v)
	case bool:
		return 0, st.BindInt64(i, boolInt(v))
	case time.Time:
		text, err := formatTime(v)
		if err != nil {
			return 0, err
		}
		return len(text), st.BindText(i, text)
	case driver.Valuer:
		return bindValuer(st, i, v)
	}
	return bindReflect(st, i, arg)
}

func bindFloat(st *sqlite.Stmt, i int, v float64) error {
	if math.IsNaN(v) {
		return errNaN
	}
	return st.BindFloat(i, v)
}

// bindBytes binds nil as NULL and an empty slice as an empty blob.
func bindBytes(st *sqlite.Stmt, i int, v []byte) error {
	if v == nil {
		return st.BindNull(i)
	}
	return st.BindBlob(i, v)
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// bindValuer asks a driver.Valuer. A nil pointer whose method has a value receiver is NULL, as in database/sql.
func bindValuer(st *sqlite.Stmt, i int, v driver.Valuer) (int, error) {
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() &&
		rv.Type().Elem().Implements(reflect.TypeFor[driver.Valuer]()) {
		return 0, st.BindNull(i)
	}
	value, err := v.Value()
	if err != nil {
		return 0, err
	}
	if _, again := value.(driver.Valuer); again {
		return 0, fmt.Errorf("%T.Value returns another driver.Valuer", v)
	}
	return bindValue(st, i, value)
}

// bindReflect binds what is left: the smaller numbers, types made from the basic ones, and pointers.
func bindReflect(st *sqlite.Stmt, i int, arg any) (int, error) {
	rv := reflect.ValueOf(arg)
	switch rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return 0, st.BindNull(i)
		}
		return bindValue(st, i, rv.Elem().Interface())
	case reflect.Bool:
		return 0, st.BindInt64(i, boolInt(rv.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return 0, st.BindInt64(i, rv.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if rv.Uint() > math.MaxInt64 {
			return 0, errUint
		}
		return 0, st.BindInt64(i, int64(rv.Uint()))
	case reflect.Float32, reflect.Float64:
		return 0, bindFloat(st, i, rv.Float())
	case reflect.String:
		return rv.Len(), st.BindText(i, rv.String())
	case reflect.Slice:
		if rv.Type().Elem().Kind() == reflect.Uint8 {
			return rv.Len(), bindBytes(st, i, rv.Bytes())
		}
	}
	return 0, fmt.Errorf("a %T can't be stored; implement driver.Valuer", arg)
}

// splitArgs takes the arguments of a script's next statement: the named ones
// that it knows, and as many of the others as it has parameters left.
func splitArgs(st *sqlite.Stmt, params int, args []any) (mine, others []any, err error) {
	for _, arg := range args {
		if named, ok := arg.(sql.NamedArg); ok && paramIndex(st, named.Name) > 0 {
			mine = append(mine, arg)
		}
	}
	for _, arg := range args {
		if _, ok := arg.(sql.NamedArg); !ok && len(mine) < params {
			mine = append(mine, arg)
		} else {
			others = append(others, arg)
		}
	}
	if len(mine) != params {
		return nil, nil, countError(len(mine), params)
	}
	return mine, others, nil
}

func countPositional(args []any) int {
	n := 0
	for _, arg := range args {
		if _, ok := arg.(sql.NamedArg); !ok {
			n++
		}
	}
	return n
}
