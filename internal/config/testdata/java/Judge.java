import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/**
 * Answers what the real java.util.Properties and Kafka's own configuration class make of a file.
 *
 * One request a line: "props FILE", "config FILE", "tls FILE", "bind HOST" or "hidden KEY", the argument in base64. One answer a line:
 * "ok" or "refused", then words in base64. For props the words are keys and values in turn; for config they are
 * "listener NAME host port", "advertised NAME host port", "protocol NAME PROTOCOL", "interbroker NAME"; for
 * tls there are none: listener EXTERNAL's key and trust store were opened; for bind they are
 * the loopback addresses at which a socket bound to HOST answers; for types they are
 * "NAME TYPE RULE" with tabs between, of every property; for value, whose argument is NAME=VALUE, there are none: the
 * value has been parsed and checked; for hidden it is whether DescribeConfigs keeps the value of a broker property to itself.
 */
public class Judge {
    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err); // Kafka may print
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = in.readLine()) != null; ) {
            String[] request = line.split(" ", 2);
            byte[] file = Base64.getDecoder().decode(request[1]);
            StringBuilder answer = new StringBuilder();
            try {
                List<String> words = switch (request[0]) {
                    case "props" -> properties(file);
                    case "config" -> config(file);
                    case "tls" -> tls(file);
                    case "types" -> types();
                    case "value" -> value(new String(file, StandardCharsets.UTF_8));
                    case "bind" -> bind(new String(file, StandardCharsets.UTF_8));
                    default -> List.of(hidden(new String(file, StandardCharsets.UTF_8)));
                };
                answer.append("ok");
                words.forEach(w -> answer.append(' ').append(encode(w)));
            } catch (Throwable e) {
                Throwable cause = e instanceof java.lang.reflect.InvocationTargetException ? e.getCause() : e;
                answer.setLength(0);
                answer.append("refused ").append(encode(String.valueOf(cause)));
            }
            answers.println(answer);
            answers.flush();
        }
    }

    static String encode(String s) {
        return Base64.getEncoder().encodeToString(s.getBytes(StandardCharsets.UTF_8));
    }

    static Properties load(byte[] file) throws Exception {
        Properties p = new Properties();
        p.load(new ByteArrayInputStream(file));
        return p;
    }

    static List<String> properties(byte[] file) throws Exception {
        List<String> words = new ArrayList<>();
        load(file).forEach((k, v) -> {
            words.add((String) k);
            words.add((String) v);
        });
        return words;
    }

    static org.apache.kafka.common.config.ConfigDef definition() throws Exception {
        return (org.apache.kafka.common.config.ConfigDef) Class.forName("kafka.server.KafkaConfig").getMethod("configDef").invoke(null);
    }

    static List<String> types() throws Exception {
        List<String> words = new ArrayList<>();
        new java.util.TreeMap<>(definition().configKeys()).forEach((name, key) ->
            words.add(name + "\t" + key.type + "\t" + (key.validator == null ? "" : key.validator.getClass().getSimpleName() + " " + key.validator)));
        return words;
    }

    static List<String> value(String assignment) throws Exception {
        String[] parts = assignment.split("=", 2);
        org.apache.kafka.common.config.ConfigDef.ConfigKey key = definition().configKeys().get(parts[0]);
        Object value = org.apache.kafka.common.config.ConfigDef.parseType(parts[0], parts[1], key.type);
        if (key.validator != null) {
            key.validator.ensureValid(parts[0], value);
        }
        return List.of();
    }

    static String hidden(String key) throws Exception {
        Class<?> type = Class.forName("kafka.server.KafkaConfig");
        Object of = type.getMethod("configType", String.class).invoke(null, key);
        return String.valueOf(type.getMethod("maybeSensitive", scala.Option.class).invoke(null, of));
    }

    /** As SocketServer.openServerSocket does. */
    static List<String> bind(String host) throws Exception {
        List<String> words = new ArrayList<>();
        try (ServerSocketChannel channel = ServerSocketChannel.open()) {
            channel.socket().bind(host.isEmpty() ? new InetSocketAddress(0) : new InetSocketAddress(host, 0));
            for (String address : List.of("127.0.0.1", "::1")) {
                try (Socket socket = new Socket(address, channel.socket().getLocalPort())) {
                    words.add(address);
                } catch (IOException notThere) {
                    // is what the answer tells
                }
            }
        }
        return words;
    }

    static List<String> tls(byte[] file) throws Exception {
        Class<?> type = Class.forName("kafka.server.KafkaConfig");
        Object config = type.getMethod("fromProps", Properties.class, boolean.class).invoke(null, load(file), false);
        Map<?, ?> values = (Map<?, ?>) config.getClass().getMethod("valuesWithPrefixOverride", String.class)
            .invoke(config, "listener.name.external.");
        Class<?> engines = Class.forName("org.apache.kafka.common.security.ssl.DefaultSslEngineFactory");
        engines.getMethod("configure", Map.class).invoke(engines.getDeclaredConstructor().newInstance(), values);
        return List.of();
    }

    static List<String> config(byte[] file) throws Exception {
        Class<?> type = Class.forName("kafka.server.KafkaConfig");
        Object config = type.getMethod("fromProps", Properties.class, boolean.class).invoke(null, load(file), false);
        List<String> words = new ArrayList<>();
        endpoints(words, "listener", call(config, "listeners"));
        try {
            endpoints(words, "advertised", call(config, "effectiveAdvertisedBrokerListeners"));
        } catch (NoSuchMethodException before39) {
            endpoints(words, "advertised", call(config, "effectiveAdvertisedListeners"));
        }
        Object protocols = call(config, "effectiveListenerSecurityProtocolMap");
        if (protocols instanceof Map<?, ?> map) {
            for (Map.Entry<?, ?> e : map.entrySet()) {
                protocol(words, e.getKey(), e.getValue());
            }
        } else {
            scala.collection.Iterator<?> i = ((scala.collection.Map<?, ?>) protocols).iterator();
            while (i.hasNext()) {
                scala.Tuple2<?, ?> e = (scala.Tuple2<?, ?>) i.next();
                protocol(words, e._1(), e._2());
            }
        }
        words.add("interbroker " + call(call(config, "interBrokerListenerName"), "value"));
        return words;
    }

    static void endpoints(List<String> words, String kind, Object seq) throws Exception {
        scala.collection.Iterator<?> i = ((scala.collection.Iterable<?>) seq).iterator();
        while (i.hasNext()) {
            Object e = i.next();
            Object name = call(e, "listenerName");
            name = name instanceof java.util.Optional<?> optional ? optional.get() : call(name, "value");
            Object host = call(e, "host");
            words.add(kind + " " + name + " " + (host == null ? "" : host) + " " + call(e, "port"));
        }
    }

    static void protocol(List<String> words, Object name, Object protocol) throws Exception {
        words.add("protocol " + call(name, "value") + " " + protocol);
    }

    static Object call(Object o, String method) throws Exception {
        return o.getClass().getMethod(method).invoke(o);
    }
}
