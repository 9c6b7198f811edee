package agentdb

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// decodeFunc reads column i of the current row into *p, whose type it was made for.
type decodeFunc func(st *sqlite.Stmt, i int, p unsafe.Pointer) error

// decoderFor returns the decoder for a type. decl is the column's declared type.
func decoderFor(typ reflect.Type, decl string) (decodeFunc, error) {
	switch {
	case typ == timeType:
		return decodeTime, nil
	case typ == reflect.TypeFor[sql.NullTime]():
		return decodeNullTime, nil
	case reflect.PointerTo(typ).Implements(scannerType):
		return decodeScanner(typ, decl), nil
	case typ.Kind() == reflect.Pointer:
		return decodePointer(typ.Elem(), decl)
	case typ.Kind() == reflect.Interface && typ.NumMethod() == 0:
		return decodeAny, nil
	}
	if d := decoderOfKind(typ); d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("a column can't be read into a %v; implement sql.Scanner", typ)
}

func decoderOfKind(typ reflect.Type) decodeFunc {
	switch typ.Kind() {
	case reflect.Int64:
		return decodeInt64
	case reflect.Int:
		return decodeInt[int]
	case reflect.Int32:
		return decodeInt[int32]
	case reflect.Int16:
		return decodeInt[int16]
	case reflect.Int8:
		return decodeInt[int8]
	case reflect.Uint64:
		return decodeInt[uint64]
	case reflect.Uint:
		return decodeInt[uint]
	case reflect.Uint32:
		return decodeInt[uint32]
	case reflect.Uint16:
		return decodeInt[uint16]
	case reflect.Uint8:
		return decodeInt[uint8]
	case reflect.Float64:
		return decodeFloat64
	case reflect.Float32:
		return decodeFloat32
	case reflect.String:
		return decodeString
	case reflect.Bool:
		return decodeBool
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Uint8 {
			return decodeBytes
		}
	}
	return nil
}

func decodeInt64(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	if st.ColumnKind(i) == sqlite.KindInteger {
		*(*int64)(p) = st.ColumnInt64(i)
		return nil
	}
	n, err := otherInt(st, i)
	*(*int64)(p) = n
	return err
}

func decodeInt[T int | int8 | int16 | int32 | uint | uint8 | uint16 | uint32 | uint64](st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	n := st.ColumnInt64(i)
	if st.ColumnKind(i) != sqlite.KindInteger {
		other, err := otherInt(st, i)
		if err != nil {
			return err
		}
		n = other
	}
	v := T(n)
	if int64(v) != n || n < 0 && v > 0 {
		return fmt.Errorf("%d doesn't fit into a %T", n, v)
	}
	*(*T)(p) = v
	return nil
}

// otherInt reads what isn't stored as an integer, if it is one nevertheless.
func otherInt(st *sqlite.Stmt, i int) (int64, error) {
	switch st.ColumnKind(i) {
	case sqlite.KindFloat:
		f := st.ColumnFloat(i)
		if f != math.Trunc(f) || f < math.MinInt64 || f >= math.MaxInt64 {
			return 0, fmt.Errorf("%v isn't an integer", f)
		}
		return int64(f), nil
	case sqlite.KindText:
		n, err := strconv.ParseInt(st.ColumnText(i), 10, 64)
		if err != nil {
			return 0, errors.New("the text isn't an integer")
		}
		return n, nil
	}
	return 0, mismatch(st, i, "an integer")
}

func decodeFloat64(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	f, err := columnFloat(st, i)
	*(*float64)(p) = f
	return err
}

func decodeFloat32(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	f, err := columnFloat(st, i)
	if err == nil && math.Abs(f) > math.MaxFloat32 && !math.IsInf(f, 0) {
		return fmt.Errorf("%v doesn't fit into a float32", f)
	}
	*(*float32)(p) = float32(f)
	return err
}

func columnFloat(st *sqlite.Stmt, i int) (float64, error) {
	switch st.ColumnKind(i) {
	case sqlite.KindFloat:
		return st.ColumnFloat(i), nil
	case sqlite.KindInteger:
		n := st.ColumnInt64(i)
		f := float64(n)
		if f >= math.MaxInt64 || int64(f) != n {
			return 0, fmt.Errorf("%d has no exact floating point number", n)
		}
		return f, nil
	case sqlite.KindText:
		f, err := strconv.ParseFloat(st.ColumnText(i), 64)
		if err != nil {
			return 0, errors.New("the text isn't a number")
		}
		return f, nil
	}
	return 0, mismatch(st, i, "a number")
}

func decodeString(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	if st.ColumnKind(i) == sqlite.KindNull {
		return errNull
	}
	*(*string)(p) = st.ColumnText(i)
	return nil
}

func decodeBytes(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	*(*[]byte)(p) = st.ColumnBlob(i)
	return nil
}

func decodeBool(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	switch st.ColumnKind(i) {
	case sqlite.KindInteger:
		n := st.ColumnInt64(i)
		if n != 0 && n != 1 {
			return fmt.Errorf("%d isn't a boolean", n)
		}
		*(*bool)(p) = n == 1
		return nil
	case sqlite.KindText:
		b, err := strconv.ParseBool(st.ColumnText(i))
		if err != nil {
			return errors.New("the text isn't a boolean")
		}
		*(*bool)(p) = b
		return nil
	}
	return mismatch(st, i, "a boolean")
}

func decodeTime(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	t, err := columnTime(st, i)
	*(*time.Time)(p) = t
	return err
}

func decodeNullTime(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	if st.ColumnKind(i) == sqlite.KindNull {
		*(*sql.NullTime)(p) = sql.NullTime{}
		return nil
	}
	t, err := columnTime(st, i)
	*(*sql.NullTime)(p) = sql.NullTime{Time: t, Valid: err == nil}
	return err
}

func columnTime(st *sqlite.Stmt, i int) (time.Time, error) {
	switch st.ColumnKind(i) {
	case sqlite.KindText:
		if t, ok := parseTime(st.ColumnText(i)); ok {
			return t, nil
		}
		return time.Time{}, errors.New("the text isn't a time")
	case sqlite.KindInteger:
		return unixTime(st.ColumnInt64(i)), nil
	case sqlite.KindFloat:
		if t, ok := julianTime(st.ColumnFloat(i)); ok {
			return t, nil
		}
	}
	return time.Time{}, mismatch(st, i, "a time")
}

func decodeAny(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
	*(*any)(p) = columnValue(st, i)
	return nil
}

// decodePointer reads NULL as nil.
func decodePointer(elem reflect.Type, decl string) (decodeFunc, error) {
	decode, err := decoderFor(elem, decl)
	if err != nil {
		return nil, err
	}
	return func(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
		target := (*unsafe.Pointer)(p)
		if st.ColumnKind(i) == sqlite.KindNull {
			*target = nil
			return nil
		}
		v := reflect.New(elem).UnsafePointer()
		*target = v
		return decode(st, i, v)
	}, nil
}

// decodeScanner leaves the reading to an sql.Scanner. It gets times where the
// column is declared as one, or where it is an sql.Null[time.Time].
func decodeScanner(typ reflect.Type, decl string) decodeFunc {
	if typ == reflect.TypeFor[sql.Null[time.Time]]() {
		decl = "DATETIME"
	}
	return func(st *sqlite.Stmt, i int, p unsafe.Pointer) error {
		s, ok := reflect.NewAt(typ, p).Interface().(sql.Scanner)
		if !ok {
			return fmt.Errorf("%v is no sql.Scanner", typ)
		}
		return s.Scan(declaredValue(st, i, decl))
	}
}

// mismatch is the error for a column that holds something else than wanted.
func mismatch(st *sqlite.Stmt, i int, wanted string) error {
	kind := st.ColumnKind(i)
	if kind == sqlite.KindNull {
		return errNull
	}
	return fmt.Errorf("it is a %v, not %s", kind, wanted)
}
