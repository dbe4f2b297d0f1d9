"""A real Kafka broker, one node in KRaft mode, on ports that stay its own over a restart; and what its topics hold."""

import pathlib
import time
import uuid

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from harness.net import free_port
from harness.process import PEERS, Process, run

USER, PASSWORD = "weir", "let-me-in"


class Kafka:
    """`sasl_port` takes SASL/PLAIN with USER and PASSWORD; `port` takes anybody."""

    def __init__(self, folder: pathlib.Path, **settings):
        self.folder = folder
        self.port, self.sasl_port, self.controller_port = free_port(), free_port(), free_port()
        self.settings = settings
        self.process: Process | None = None
        self.formatted = False

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _java(self, heap: str, main: str, *arguments) -> list:
        libraries = PEERS / "kafka" / "lib"
        assert libraries.is_dir(), f"no Kafka in {PEERS}: ./dev deps"
        return ["java", f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-cp", f"{libraries}/*", main, *arguments]

    def _write(self) -> pathlib.Path:
        jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},SASL_PLAINTEXT://127.0.0.1:{self.sasl_port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": jaas,
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            # A broker that was killed is let in again when its old session is over.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 300,
            **{name.replace("_", "."): value for name, value in self.settings.items()},
        }
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return file

    def start(self) -> "Kafka":
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._write()
        if not self.formatted:
            name = uuid.uuid4().hex[:22]
            done = run(self._java("128m", "kafka.tools.StorageTool", "format", "-t", name, "-c", file), 60)
            assert done.returncode == 0, f"format: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            self.formatted = True
        self.process = Process("kafka", self._java("256m", "kafka.Kafka", file), self.folder / "kafka.log")
        self.process.wait_ready(self._answers, timeout=90)
        return self

    def _answers(self) -> bool:
        try:
            return len(self.admin().list_topics(timeout=1).brokers) == 1
        except Exception:
            return False

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def make(self, topic: str, partitions: int = 3, **settings):
        names = {name.replace("_", "."): str(value) for name, value in settings.items()}
        admin = self.admin()  # has to outlive its futures
        admin.create_topics([NewTopic(topic, partitions, 1, config=names)])[topic].result(20)

    def set(self, topic: str, name: str, value):
        entry = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = self.admin()
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(20)

    def messages(self, topic: str, timeout: float = 30) -> list:
        """All that the topic holds: objects with key(), value(), partition()."""
        consumer = Consumer(
            {"bootstrap.servers": self.brokers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False, "log_level": 0}
        )
        try:
            out, ends = [], {}
            for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
            consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
            end, seen = time.monotonic() + timeout, {partition: 0 for partition in ends}
            while any(seen[partition] < ends[partition] for partition in ends):
                assert time.monotonic() < end, f"{topic}: {seen} of {ends}"
                for message in consumer.consume(10_000, timeout=0.5):
                    assert message.error() is None, message.error()
                    out.append(message)
                    seen[message.partition()] = message.offset() + 1
            return out
        finally:
            consumer.close()

    def kill(self):
        self.process.kill()

    def stop(self) -> int:
        return self.process.stop() if self.process else 0
