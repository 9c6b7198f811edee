package agentdb

import (
	"context"
	"sync"
)

// Tx is a transaction: that of Update, which writes, or that of View, which
// only reads. It ends when the function that was given it returns. Its methods
// may be called from several goroutines; they take turns.
type Tx struct {
	db    *DB
	write bool

	mu   sync.Mutex // guards c and the fields below
	c    *conn
	done bool
	lost error // with what SQLite rolled the transaction back
}

// Update runs fn in a transaction that writes. When fn returns nil the
// transaction is committed; when it returns an error, panics or ctx has ended
// meanwhile, it is rolled back and the error returned. Writers queue in the order of their calls, so that fn runs exactly once.
//
// Within fn use tx only: db.Exec and db.Update would wait for this very
// transaction to end.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := db.lock.lock(ctx); err != nil {
		return err
	}
	defer db.lock.unlock()
	return db.transact(ctx, db.writer, true, fn)
}

// View runs fn in a transaction that reads: all its reads see the database as
// it was when View began, while others write on. A write fails with ErrReadOnly.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	c, err := db.readers.get(ctx)
	if err != nil {
		return err
	}
	defer db.readers.put(c)
	return db.transact(ctx, c, false, fn)
}

// transact runs fn in a transaction on c, which the caller owns.
func (db *DB) transact(ctx context.Context, c *conn, write bool, fn func(*Tx) error) (err error) {
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	how := ctlBegin
	if write {
		how = ctlBeginImmediate
	}
	w := c.watch(ctx)
	defer w.end()
	if err := c.begin(ctx, how); err != nil {
		return err
	}
	c.managed, c.watched = true, ctx.Done()
	tx := &Tx{db: db, c: c, write: write}
	returned := false
	defer func() {
		if !returned { // fn has panicked, or ended its goroutine
			_ = tx.finish() // the panic goes on
			w.end()
			c.rollback()
		}
		c.managed, c.watched = false, nil
	}()
	err = fn(tx)
	returned = true
	lostBy := tx.finish()
	w.end()
	if err == nil && lostBy != nil {
		err = lost(lostBy)
	}
	if err == nil && ctx.Err() != nil {
		err = ctxError(ctx)
	}
	if err != nil {
		c.rollback()
		return err
	}
	return c.commit()
}

// finish makes tx unusable and says with what SQLite rolled it back, if it did.
func (tx *Tx) finish() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.done = true
	tx.c.dropLive()
	return tx.lost
}

// use takes the connection for one call. The caller unlocks tx.mu.
func (tx *Tx) use(ctx context.Context) (*conn, error) {
	tx.mu.Lock()
	switch {
	case tx.done:
		return nil, ErrTxDone
	case tx.lost != nil:
		return nil, lost(tx.lost)
	case ctx.Err() != nil:
		return nil, ctxError(ctx)
	}
	return tx.c, nil
}

// failed remembers, after an error, whether the transaction is gone.
func (tx *Tx) failed(err error) error {
	if err != nil && tx.write && !tx.c.inTx && tx.lost == nil {
		tx.lost = err
	}
	return err
}

// Exec runs one or more statements in the transaction; see DB.Exec. SAVEPOINT, RELEASE and ROLLBACK TO work, BEGIN and COMMIT don't.
func (tx *Tx) Exec(ctx context.Context, text string, args ...any) (Result, error) {
	c, err := tx.use(ctx)
	defer tx.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	res, err := c.exec(ctx, text, args)
	return res, tx.failed(err)
}
