package ormtest

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

type User struct {
	bun.BaseModel `bun:"table:users"`

	ID        int64          `bun:",pk,autoincrement"`
	Name      string         `bun:",notnull,unique"`
	Email     *string        `bun:",nullzero"`
	Admin     bool           `bun:",notnull"`
	Score     float64        `bun:",notnull"`
	Avatar    []byte         `bun:"type:blob"`
	Settings  map[string]any `bun:"type:text"`
	CreatedAt time.Time      `bun:",nullzero,notnull,default:current_timestamp"`
	Posts     []*Post        `bun:"rel:has-many,join:id=user_id"`
}

type Post struct {
	bun.BaseModel `bun:"table:posts"`

	ID     int64 `bun:",pk,autoincrement"`
	UserID int64 `bun:",notnull"`
	Title  string
	User   *User `bun:"rel:belongs-to,join:user_id=id"`
}

func openBun(t *testing.T) *bun.DB {
	t.Helper()
	ctx := context.Background()
	db := bun.NewDB(open(t).SQL(), sqlitedialect.New())
	if _, err := db.NewCreateTable().Model((*User)(nil)).IfNotExists().Exec(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := db.NewCreateTable().Model((*Post)(nil)).ForeignKey(`("user_id") REFERENCES "users" ("id") ON DELETE CASCADE`).Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestBun(t *testing.T) {
	ctx := context.Background()
	db := openBun(t)
	mail := "ann@example.com"
	users := []*User{
		{Name: "Ann", Email: &mail, Admin: true, Score: 1.5, Avatar: []byte{0, 1}, Settings: map[string]any{"theme": "dark"}},
		{Name: "Bob"},
	}
	if _, err := db.NewInsert().Model(&users).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	if users[1].ID != 2 || time.Since(users[0].CreatedAt).Abs() > 24*time.Hour {
		t.Errorf("ids or times weren't filled in: %+v %+v", users[0], users[1])
	}
	posts := []*Post{{UserID: 1, Title: "one"}, {UserID: 1, Title: "two"}}
	if _, err := db.NewInsert().Model(&posts).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	var ann User
	if err := db.NewSelect().Model(&ann).Relation("Posts").Where("name = ?", "Ann").Scan(ctx); err != nil {
		t.Fatal(err)
	}
	if ann.Email == nil || *ann.Email != mail || !ann.Admin || ann.Score != 1.5 || len(ann.Avatar) != 2 || ann.Settings["theme"] != "dark" || len(ann.Posts) != 2 {
		t.Errorf("%+v", ann)
	}
	if _, err := db.NewUpdate().Model(&User{ID: 2, Score: 9}).Column("score").WherePK().Exec(ctx); err != nil {
		t.Error(err)
	}
	var names []string
	if err := db.NewSelect().Model((*User)(nil)).Column("name").Order("score DESC").Scan(ctx, &names); err != nil || len(names) != 2 || names[0] != "Bob" {
		t.Errorf("%v, %v", names, err)
	}
	_, err := db.NewInsert().Model(&User{Name: "Ann", Score: 7}).On("CONFLICT (name) DO UPDATE").Set("score = EXCLUDED.score").Exec(ctx)
	if err != nil {
		t.Error(err)
	}
	if _, err := db.NewDelete().Model(&ann).WherePK().Exec(ctx); err != nil {
		t.Error(err)
	}
	if n, err := db.NewSelect().Model((*Post)(nil)).Count(ctx); err != nil || n != 0 {
		t.Errorf("%d posts without their user, %v", n, err)
	}
}

func TestBunTransactions(t *testing.T) {
	ctx := context.Background()
	db := openBun(t)
	boom := errors.New("boom")
	err := db.RunInTx(ctx, &sql.TxOptions{}, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&User{Name: "Cyd"}).Exec(ctx); err != nil {
			return err
		}
		// A transaction inside is a savepoint.
		err := tx.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewInsert().Model(&User{Name: "Dan"}).Exec(ctx); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("inside: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := db.NewSelect().Model((*User)(nil)).Column("name").Scan(ctx, &names); err != nil || len(names) != 1 || names[0] != "Cyd" {
		t.Errorf("%v, %v", names, err)
	}
}
