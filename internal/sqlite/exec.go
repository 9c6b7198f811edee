package sqlite

// Exec runs a script of any number of statements. Rows are ignored.
func (c *Conn) Exec(script string) error {
	for script != "" {
		s, tail, err := c.prepare(script, 0)
		if err != nil {
			return err
		}
		if s == nil {
			return nil
		}
		script = tail
		err = s.drain()
		s.Finalize()
		if err != nil {
			return err
		}
	}
	return nil
}

// ExecArgs runs one statement of the cache with arguments. Rows are ignored.
func (c *Conn) ExecArgs(sql string, args ...Value) error {
	s, err := c.Cached(sql)
	if err != nil {
		return err
	}
	defer s.Done()
	if err := s.BindArgs(args...); err != nil {
		return err
	}
	return s.drain()
}

// drain steps to the end.
func (s *Stmt) drain() error {
	for {
		row, err := s.Step()
		if err != nil {
			return err
		}
		if !row {
			return nil
		}
	}
}

// QueryInt returns the first column of the first row as an integer. Without a
// row the error is ErrNoRow.
func (c *Conn) QueryInt(sql string, args ...Value) (int64, error) {
	var n int64
	err := c.queryRow(sql, args, func(s *Stmt) { n = s.ColumnInt64(0) })
	return n, err
}

// QueryText returns the first column of the first row as a text. Without a row
// the error is ErrNoRow.
func (c *Conn) QueryText(sql string, args ...Value) (string, error) {
	var text string
	err := c.queryRow(sql, args, func(s *Stmt) { text = s.ColumnText(0) })
	return text, err
}

// queryRow runs the statement to its end, so that what it writes is committed,
// and shows read the first row.
func (c *Conn) queryRow(sql string, args []Value, read func(*Stmt)) error {
	s, err := c.Cached(sql)
	if err != nil {
		return err
	}
	defer s.Done()
	if err := s.BindArgs(args...); err != nil {
		return err
	}
	row, err := s.Step()
	if err != nil {
		return err
	}
	if !row {
		return ErrNoRow
	}
	read(s)
	return s.Reset()
}
