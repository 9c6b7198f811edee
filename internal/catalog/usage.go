package catalog

import (
	"context"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Usage is what databases were used for.
type Usage struct {
	RowsRead, RowsWritten, BytesSynced int64
}

// usageDays is for how many days usage is kept.
const usageDays = 400

// maxUsages is how many databases' usage is added in one transaction, so that
// other writes need not wait for long.
const maxUsages = 500

// day returns the number of a time's day, in UTC.
func day(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// AddUsage adds what databases were used for to that of today. Names that the
// catalog doesn't know are passed over. After an error, what is left in usage was
// not added.
func (s *Store) AddUsage(ctx context.Context, usage map[string]Usage) error {
	for len(usage) > 0 {
		today := day(s.now())
		var names []string
		for name := range usage {
			if names = append(names, name); len(names) == maxUsages {
				break
			}
		}
		err := s.update(ctx, func(t *tx) error {
			for _, name := range names {
				u := usage[name]
				if _, err := exec(t.Conn, `INSERT INTO usage SELECT d.id, ?, d.org, g.id, ?, ?, ? FROM databases d
					JOIN groups g ON g.org = d.org AND g.name = d.grp WHERE d.name = ?
					ON CONFLICT DO UPDATE SET rows_read = rows_read + excluded.rows_read,
					rows_written = rows_written + excluded.rows_written, bytes_synced = bytes_synced + excluded.bytes_synced`,
					today, u.RowsRead, u.RowsWritten, u.BytesSynced, name); err != nil {
					return err
				}
			}
			_, err := exec(t.Conn, "DELETE FROM usage WHERE day < ?", today-usageDays)
			return err
		})
		if err != nil {
			return named(err, "usage")
		}
		for _, name := range names {
			delete(usage, name)
		}
	}
	return nil
}

// UsageFilter selects usage.
type UsageFilter struct {
	Org      string
	Group    string // ID; "": all
	Database string // ID; "": all, also those that are deleted
	From, To time.Time
}

// Usage returns what databases were used for on the days from From to To.
func (s *Store) Usage(f UsageFilter) (u Usage, err error) {
	where, args := "org = ? AND day BETWEEN ? AND ?", []any{f.Org, day(f.From), day(f.To)}
	if f.Group != "" {
		where, args = where+" AND grp = ?", append(args, f.Group)
	}
	if f.Database != "" {
		where, args = where+" AND id = ?", append(args, f.Database)
	}
	err = s.view(func(c *sqlite.Conn) error {
		return rows(c, "SELECT sum(rows_read), sum(rows_written), sum(bytes_synced) FROM usage WHERE "+where, func(st *sqlite.Stmt) {
			u = Usage{st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnInt64(2)}
		}, args...)
	})
	return u, named(err, "usage")
}
