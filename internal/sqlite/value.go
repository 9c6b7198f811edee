package sqlite

import (
	"bytes"
	"math"
)

// Kind is the storage class of a value.
type Kind uint8

// The five storage classes of SQLite.
const (
	KindNull Kind = iota
	KindInteger
	KindFloat
	KindText
	KindBlob
)

// String returns the name SQLite's typeof() gives to the class.
func (k Kind) String() string {
	switch k {
	case KindNull:
		return "null"
	case KindInteger:
		return "integer"
	case KindFloat:
		return "real"
	case KindText:
		return "text"
	case KindBlob:
		return "blob"
	}
	return "invalid"
}

// Value is one SQLite value. The zero Value is NULL.
type Value struct {
	Kind Kind
	I    int64  // the integer; for KindFloat the bits of the float64
	B    []byte // the bytes of a text or blob
}

// Null returns the NULL value.
func Null() Value { return Value{} }

// Int returns an integer value.
func Int(i int64) Value { return Value{Kind: KindInteger, I: i} }

// Real returns a floating point value.
func Real(f float64) Value { return Value{Kind: KindFloat, I: int64(math.Float64bits(f))} }

// Text returns a text value.
func Text(s string) Value { return Value{Kind: KindText, B: []byte(s)} }

// TextBytes returns a text value that shares b.
func TextBytes(b []byte) Value { return Value{Kind: KindText, B: b} }

// Blob returns a blob value that shares b. A nil b is an empty blob, not NULL.
func Blob(b []byte) Value { return Value{Kind: KindBlob, B: b} }

// Float returns the number of a KindFloat value.
func (v Value) Float() float64 { return math.Float64frombits(uint64(v.I)) }

// IsNull reports whether v is NULL.
func (v Value) IsNull() bool { return v.Kind == KindNull }

// Equal reports whether v and o are the same value of the same kind. Floats
// compare by their bits, so -0.0 differs from 0.0.
func (v Value) Equal(o Value) bool {
	return v.Kind == o.Kind && v.I == o.I && bytes.Equal(v.B, o.B)
}

// Any returns v as nil, int64, float64, string or []byte. The slice is v.B itself.
func (v Value) Any() any {
	switch v.Kind {
	case KindInteger:
		return v.I
	case KindFloat:
		return v.Float()
	case KindText:
		return string(v.B)
	case KindBlob:
		if v.B == nil {
			return []byte{}
		}
		return v.B
	}
	return nil
}
