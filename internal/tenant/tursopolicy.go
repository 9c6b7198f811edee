package tenant

import (
	"fmt"
	"slices"

	"github.com/agentdb/agentdb/internal/turso"
)

// policies makes temporary triggers, which run while the others are off, of what
// triggers check that the client had not pulled when it wrote: it can't have run
// them. They last until the transaction is rolled back, or unmake.
func (t *tursoRun) policies() (names []string, err error) {
	k := t.d.cap
	k.Suspend()
	defer k.Resume()
	list, err := t.triggers()
	if err != nil {
		return nil, err
	}
	for _, sql := range list {
		name := turso.PolicyName(len(names))
		check, ok := turso.Policy(sql, name)
		if !ok {
			continue
		}
		if ran, err := t.hasRun(sql); err != nil || ran {
			if err != nil {
				return nil, err
			}
			continue
		}
		if err := t.d.conn.Exec(check); err != nil {
			return nil, fmt.Errorf("tenant: policy of a trigger: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}

// unmake drops what policies has made.
func (t *tursoRun) unmake(policies []string) error {
	k := t.d.cap
	k.Suspend()
	defer k.Resume()
	for _, name := range policies {
		if err := t.d.conn.Exec("DROP TRIGGER IF EXISTS temp." + name); err != nil {
			return fmt.Errorf("tenant: policy of a trigger: %w", err)
		}
	}
	return nil
}

// triggers returns the texts of all triggers.
func (t *tursoRun) triggers() (list []string, err error) {
	st, err := t.d.conn.Cached("SELECT sql FROM main.sqlite_schema WHERE type='trigger'")
	if err != nil {
		return nil, fmt.Errorf("tenant: triggers: %w", err)
	}
	defer st.Done()
	for {
		row, err := st.Step()
		if err != nil || !row {
			return list, err
		}
		list = append(list, st.ColumnText(0))
	}
}

// hasRun reports whether the client had a trigger when it made the statements.
func (t *tursoRun) hasRun(trigger string) (bool, error) {
	for _, p := range []*past{t.base, t.origin} {
		if p == nil && (t.base == nil || t.replays > 0) {
			return false, nil
		}
		if p == nil || p == t.origin && t.replays == 0 {
			continue
		}
		list, err := p.triggers()
		if err != nil || !slices.Contains(list, trigger) {
			return false, err
		}
	}
	return true, nil
}

// triggers returns the texts of the triggers that there were.
func (p *past) triggers() ([]string, error) {
	if p.seq == 0 || p.texts != nil {
		return p.texts, nil
	}
	list, err := p.img.Schema()
	if err != nil {
		return nil, gaveUp(err)
	}
	p.texts = []string{}
	for _, o := range list {
		if o.Type == "trigger" {
			p.texts = append(p.texts, o.SQL)
		}
	}
	return p.texts, nil
}
