package change

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// placeholderBelow bounds the ids that stand for rows without one: of inserts
// that were refused, and of references to rows that are gone. No row has such
// an id.
const placeholderBelow = math.MinInt64 / 2

// taken reports whether a row has that id.
func (x *Executor) taken(r *relation, id int64) (bool, error) {
	if id < placeholderBelow {
		return true, nil
	}
	return x.there(r, id)
}

// there reports whether there is a row with an id.
func (x *Executor) there(r *relation, id int64) (bool, error) {
	if r.taken == "" {
		r.taken = "SELECT 1 FROM main." + quote(r.Name) + " WHERE " + quote(r.rowid) + "=?"
	}
	st, err := x.conn.Cached(r.taken)
	if err != nil {
		return false, err
	}
	defer st.Done()
	if err := st.BindInt64(1, id); err != nil {
		return false, err
	}
	return st.Step()
}

// freeID returns an id above every row of the table, every id it ever gave out
// if it is AUTOINCREMENT, and every id that the changes ask for.
func (x *Executor) freeID(r *relation) (int64, error) {
	max, err := x.conn.QueryInt("SELECT coalesce(max(" + quote(r.rowid) + "),0) FROM main." + quote(r.Name))
	if err != nil {
		return 0, fmt.Errorf("change: highest id of %s: %w", r.Name, err)
	}
	if r.autoinc {
		seq, err := readSequence(x.conn, r.Name)
		if err != nil {
			return 0, err
		}
		if seq > max {
			max = seq
		}
	}
	if a := x.asked[r.Name]; a > max {
		max = a
	}
	if max < math.MaxInt64 {
		x.asked[r.Name] = max + 1
		return max + 1, nil
	}
	for range 100 {
		id := rand.Int64N(math.MaxInt64-1) + 1
		if taken, err := x.taken(r, id); err != nil || !taken {
			return id, err
		}
	}
	return 0, fmt.Errorf("change: no free id in %s", r.Name)
}

// placeholder returns a fresh id that no row has, in the place of one that a
// row had. Where that one is small enough it can be read from the placeholder:
// a record of a conflict says what was written.
func placeholder(was int64) int64 {
	was = written(was)
	n := rand.Int64N(1 << placeholderFlag)
	if 0 <= was && was < 1<<placeholderID {
		n = 1<<placeholderFlag | rand.Int64N(1<<(placeholderFlag-placeholderID))<<placeholderID | was
	}
	return placeholderBelow - 1 - n
}

// A placeholder is placeholderBelow less one and 62 bits: the highest says that
// the lowest placeholderID are the id that it stands for; the others are random.
const (
	placeholderFlag = 61
	placeholderID   = 37
)

// written returns the id that a placeholder stands for, as far as it tells.
func written(id int64) int64 {
	if n := placeholderBelow - 1 - id; IsPlaceholder(id) && n>>placeholderFlag&1 == 1 {
		return n & (1<<placeholderID - 1)
	}
	return id
}
