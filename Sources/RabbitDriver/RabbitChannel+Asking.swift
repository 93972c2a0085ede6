internal import CPlatform

extension RabbitChannel {
    /// What the broker's answer to a command says.
    enum Reply {
        case plain
        case queue(QueueState)
        case count(Int)
    }

    /// A method that asks for something, and the one that answers it.
    struct Question {
        let name: String
        let method: amqp_method_number_t
        let answer: amqp_method_number_t
        init(_ name: String, _ method: amqp_method_number_t, _ answer: amqp_method_number_t) {
            self.name = name
            self.method = method
            self.answer = answer
        }
    }
}
