import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A producer for sandbox.Program, which says what it reads and answers. It is Kafka's
 * own client as it comes: acks=all and idempotence are its defaults.
 */
final class Producer {
    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        long run = Long.parseUnsignedLong(args[3]);
        Map<String, Object> config = Map.of("bootstrap.servers", args[0], "client.id", "java");
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
                var in = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line; (line = in.readLine()) != null; ) {
                long n = Long.parseLong(line);
                byte[] value = ByteBuffer.allocate(100).putLong(run).putLong(n).array();
                var record = new ProducerRecord<byte[], byte[]>(topic, (int) (n % partitions), null, value);
                producer.send(record, (metadata, failure) ->
                        answer(failure == null ? "acked " + n : "failed " + n + " " + failure));
            }
        }
    }

    private static synchronized void answer(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
