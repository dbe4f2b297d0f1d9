"""Real Kafka brokers, in KRaft mode, on ports that stay their own over a restart; and what their topics hold."""

import pathlib
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from harness.net import PATIENCE, free_port, wait_until
from harness.process import PEERS, Process, run

USER, PASSWORD = "weir", "let-me-in"


class Kafka:
    """`port` takes anybody, `sasl_port` SASL/PLAIN with USER and PASSWORD; `tls_port` likewise, over TLS, when `pem` names a file
    that has a key and its certificate."""

    def __init__(self, folder: pathlib.Path, pem: pathlib.Path | None = None, **settings):
        self.folder, self.pem = folder, pem
        self.port, self.sasl_port, self.tls_port, self.controller_port = free_port(), free_port(), free_port(), free_port()
        self.node, self.cluster, self.id = 1, [self], uuid.uuid4().hex[:22]
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
        listeners = {"PLAINTEXT": self.port, "SASL_PLAINTEXT": self.sasl_port}
        if self.pem is not None:
            listeners["SASL_SSL"] = self.tls_port
        protocols = "".join(f"{name}:{name}," for name in listeners)
        listeners["CONTROLLER"] = self.controller_port
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": ",".join(f"{one.node}@127.0.0.1:{one.controller_port}" for one in self.cluster),
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items()),
            "listener.security.protocol.map": f"{protocols}CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": jaas,
            "listener.name.sasl_ssl.plain.sasl.jaas.config": jaas,
            "listener.name.sasl_ssl.ssl.keystore.type": "PEM",
            "listener.name.sasl_ssl.ssl.keystore.location": self.pem or "",
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            # A broker that was killed is let in again when its old session is over.
            "broker.session.timeout.ms": 6000,
            "broker.heartbeat.interval.ms": 300,
            **{name.replace("_", "."): value for name, value in self.settings.items()},
        }
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return file

    def start(self) -> "Kafka":
        self.launch()
        self.process.wait_ready(self.answers, timeout=400)
        return self

    def launch(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._write()
        if not self.formatted:
            done = run(self._java("128m", "kafka.tools.StorageTool", "format", "-t", self.id, "-c", file), 280)
            assert done.returncode == 0, f"format: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            self.formatted = True
        self.process = Process(f"kafka-{self.node}", self._java("256m", "kafka.Kafka", file), self.folder / "kafka.log")

    def answers(self) -> bool:
        """It knows itself and the rest of its cluster."""
        try:
            return len(self.admin().list_topics(timeout=5).brokers) == len(self.cluster)
        except Exception:
            return False

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def make(self, topic: str, partitions: int = 3, **settings):
        names = {name.replace("_", "."): str(value) for name, value in settings.items()}
        admin = self.admin()  # has to outlive its futures
        failed: list[KafkaException] = []

        def made() -> bool:
            """A broker that stood still for longer than its session lasts is none for a moment; the answer may have been lost, too."""
            try:
                admin.create_topics([NewTopic(topic, partitions, len(self.cluster), config=names)])[topic].result(PATIENCE)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS and failed:
                    return True
                failed.append(error)
                if error.args[0].code() in (
                    KafkaError.INVALID_REPLICATION_FACTOR,
                    KafkaError._TIMED_OUT,
                    KafkaError.REQUEST_TIMED_OUT,
                ):
                    return False
                raise
            return True

        wait_until(made, lambda: f"topic {topic}: {failed[-1]}", every=0.5)

    def leaders(self, topic: str) -> list[int]:
        """The node that leads each partition; -1: none does."""
        partitions = self.admin().list_topics(topic, timeout=PATIENCE).topics[topic].partitions
        return [partitions[number].leader for number in sorted(partitions)]

    def quota(self, client: str, bytes_per_second: int):
        """What a client of this name may send."""
        alter = ["--alter", "--add-config", f"producer_byte_rate={bytes_per_second}", "--entity-type", "clients"]
        argv = self._java("128m", "kafka.admin.ConfigCommand", "--bootstrap-server", self.brokers, *alter, "--entity-name", client)
        done = run(argv, 280)
        assert done.returncode == 0, f"quota: exit {done.returncode}\n{done.stdout}\n{done.stderr}"

    def set(self, topic: str, name: str, value):
        entry = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        admin = self.admin()
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(PATIENCE)

    def messages(self, topic: str, timeout: float = PATIENCE) -> list:
        """All that the topic holds: objects with key(), value(), partition()."""
        consumer = Consumer(
            {"bootstrap.servers": self.brokers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False, "log_level": 0}
        )
        try:
            out, ends = [], wait_until(lambda: self._ends(consumer, topic), f"leaders of {topic}", every=0.5)
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

    @staticmethod
    def _ends(consumer: Consumer, topic: str) -> dict[int, int]:
        """Behind the last message of each partition; {}: a broker that stood still for too long leads nothing for a while."""
        try:
            partitions = consumer.list_topics(topic, timeout=PATIENCE).topics[topic].partitions
            return {at: consumer.get_watermark_offsets(TopicPartition(topic, at), timeout=PATIENCE)[1] for at in partitions}
        except KafkaException:
            return {}

    def kill(self):
        self.process.kill()

    def stop(self, timeout: float = PATIENCE) -> int:
        return self.process.stop(timeout) if self.process else 0


class Cluster:
    """Several brokers that stand in for each other: what a topic holds is on all of them."""

    def __init__(self, folder: pathlib.Path, nodes: int = 3, **settings):
        self.nodes = [Kafka(folder / str(number), **settings) for number in range(1, nodes + 1)]
        for number, node in enumerate(self.nodes, 1):
            node.node, node.cluster, node.id = number, self.nodes, self.nodes[0].id

    @property
    def brokers(self) -> str:
        return ",".join(node.brokers for node in self.nodes)

    def start(self) -> "Cluster":
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.process.wait_ready(node.answers, timeout=400)
        return self

    def in_sync(self, topic: str) -> bool:
        partitions = self.nodes[0].admin().list_topics(topic, timeout=PATIENCE).topics[topic].partitions.values()
        return all(len(partition.isrs) == len(self.nodes) for partition in partitions)

    def stop(self):
        for node in self.nodes:
            node.kill()
