"""SQLAlchemy over libSQL's and Turso's clients."""

import unittest

from sqlalchemy import ForeignKey, create_engine, func, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from turso.sqlalchemy import get_sync_connection

from running import Server


class Base(DeclarativeBase):
    pass


class List(Base):
    __tablename__ = "lists"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    tasks: Mapped[list["Task"]] = relationship(order_by="Task.id")


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("lists.id"), index=True)
    title: Mapped[str]
    done: Mapped[bool] = mapped_column(default=False)


class SQLAlchemy(Server):
    def scenario(self, engine):
        self.addCleanup(engine.dispose)
        Base.metadata.create_all(engine)
        Base.metadata.create_all(engine)
        self.assertEqual({"lists", "tasks"} & set(inspect(engine).get_table_names()), {"lists", "tasks"})
        self.assertEqual([c["name"] for c in inspect(engine).get_columns("tasks")], ["id", "list_id", "title", "done"])
        with Session(engine) as session:
            session.add(List(name="home", tasks=[Task(title="one"), Task(title="two", done=True)]))
            session.commit()
            session.add(List(name="gone"))
            session.rollback()
            session.add(List(name="home"))
            with self.assertRaisesRegex(Exception, "(?i)unique constraint failed: lists.name"):
                session.commit()
            session.rollback()
            self.assertEqual([t.title for t in session.scalars(select(List)).one().tasks], ["one", "two"])
            self.assertEqual(session.scalar(select(func.count()).select_from(Task).where(Task.done)), 1)
            return session

    def test_libsql(self):
        self.scenario(create_engine(f"sqlite+libsql://{self.address}/db/{self.name()}"))

    def test_sync(self):
        def engine(name):
            e = create_engine(f"sqlite+turso_sync:///{self.path(name)}?remote_url={self.url()}")
            self.addCleanup(e.dispose)
            return e

        a = engine("a")
        self.scenario(a)
        with a.connect() as conn:
            get_sync_connection(conn).push()
        with Session(engine("b")) as session:
            self.assertEqual([t.title for t in session.scalars(select(List)).one().tasks], ["one", "two"])


if __name__ == "__main__":
    unittest.main()
